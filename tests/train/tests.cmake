cam_test(train step LABELS unit)
cam_test(train pack LABELS unit)
cam_test(train replay)
cam_test(train distill DOUBLE LABELS grad)
cam_test(train optimizer DOUBLE LABELS unit)
cam_test(train oracle_steps DOUBLE LABELS golden SOURCES support/oracle.c)
cam_test(train oracle_steps_float LABELS golden FILE train/test_oracle_steps.c
  SOURCES support/oracle.c)
