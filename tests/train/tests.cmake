cam_test(train step LABELS unit)
cam_test(train pack LABELS unit)
cam_test(train optimizer DOUBLE LABELS unit)
