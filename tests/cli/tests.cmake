# The program as a user runs it.  Each script takes the program from its environment.
if(TARGET cambium_program)
  set(feed_server_file "")
  if(TARGET feed_server)
    set(feed_server_file $<TARGET_FILE:feed_server>)
  endif()
  function(cam_cli_test name)
    cmake_parse_arguments(arg "" "" "COMMAND" ${ARGN})
    add_test(NAME cli.${name} COMMAND bash ${arg_COMMAND})
    set_tests_properties(cli.${name} PROPERTIES LABELS cli TIMEOUT 600
      ENVIRONMENT "CAMBIUM=$<TARGET_FILE:cambium_program>;SOURCE_DIR=${PROJECT_SOURCE_DIR};FEED_SERVER=${feed_server_file}"
      FAIL_REGULAR_EXPRESSION "ERROR: (Address|Leak|Thread)Sanitizer")
  endfunction()
  set(folder ${CMAKE_CURRENT_SOURCE_DIR}/cli)
  foreach(name help init ingest opml lock control unit history quarantine bench bench_lifelong
      build_stream)
    cam_cli_test(${name} COMMAND ${folder}/${name}.sh)
  endforeach()
  cam_cli_test(bench_torch COMMAND ${folder}/bench_torch.sh)
  set_tests_properties(cli.bench_torch PROPERTIES LABELS "cli;slow" SKIP_RETURN_CODE 77)
  set_tests_properties(cli.build_stream PROPERTIES SKIP_RETURN_CODE 77)
  cam_cli_test(resume_term COMMAND ${folder}/resume.sh TERM)
  cam_cli_test(resume_kill COMMAND ${folder}/resume.sh KILL)
  cam_cli_test(resume_threads COMMAND ${folder}/resume.sh threads)
  if(NOT CAM_SANITIZE) # tools/test --slow runs it, on the release build
    cam_cli_test(resume_random COMMAND ${folder}/resume.sh random)
    set_tests_properties(cli.resume_random PROPERTIES LABELS "cli;slow" TIMEOUT 900)
  endif()
  if(TARGET feed_server AND NOT CAM_SANITIZE) # on the release program, as README says
    cam_cli_test(readme_session COMMAND ${folder}/readme_session.sh)
    set_tests_properties(cli.readme_session PROPERTIES LABELS "cli;readme" TIMEOUT 600)
  endif()
  if(TARGET feed_server)
    cam_cli_test(feed COMMAND ${folder}/feed.sh)
    cam_cli_test(service COMMAND ${folder}/service.sh)
  endif()
endif()

# The fetcher, against the scripted server (see feed/tests.cmake for its libraries).
if(MICROHTTPD_FOUND AND ZLIB_FOUND)
  foreach(noun fetcher fetcher_load fulltext)
    cam_test(cli ${noun} SOURCES support/httpd.c LIBRARIES PkgConfig::MICROHTTPD PkgConfig::ZLIB)
  endforeach()
endif()
