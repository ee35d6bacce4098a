cam_test(run trainer LABELS unit)
cam_test(run protect LABELS unit)
cam_test(run service LABELS unit fault)
cam_test(run week LABELS unit)
cam_test(run safety LABELS fault)
cam_test(run recover LABELS unit fault)
if(MICROHTTPD_FOUND) # feed/tests.cmake
  cam_test(run poll_week SOURCES support/httpd.c LIBRARIES PkgConfig::MICROHTTPD)
endif()
