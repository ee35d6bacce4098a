cam_test(feed html)
cam_test(feed ndjson)
cam_test(feed atom)
cam_test(feed formats)
cam_test(feed dry_run)
cam_test(feed address)

# The scripted server needs a library that the service does not.
pkg_check_modules(MICROHTTPD IMPORTED_TARGET libmicrohttpd)
if(MICROHTTPD_FOUND)
  cam_test(feed fetch SOURCES support/httpd.c LIBRARIES PkgConfig::MICROHTTPD)
  cam_test(feed feed_server LABELS unit cli)
  target_compile_definitions(test_feed_server PRIVATE
    CAM_FEED_SERVER="$<TARGET_FILE:feed_server>")
  add_dependencies(test_feed_server feed_server)
else()
  message(STATUS "libmicrohttpd not found: the fetch tests are left out")
endif()
cam_test(feed feed_memory LABELS unit fault)
target_link_options(test_feed_memory PRIVATE
  -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc -Wl,--wrap=strdup)
