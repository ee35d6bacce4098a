# Each target twice: with replay.c over its committed corpus in every test run, and under
# libFuzzer as fuzz_<name> when CAM_FUZZ is on (clang).
foreach(name feed json html encoding date url cron opml robots)
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
  if(CAM_FUZZ)
    add_executable(fuzz_${name} fuzz/fuzz_${name}.c)
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(fuzz_${name} fuzz/fuzz_${name}.c fuzz/replay.c)
    add_test(NAME fuzz.${name} COMMAND fuzz_${name} ${corpus})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS "unit;fuzz" TIMEOUT 120
      FAIL_REGULAR_EXPRESSION "ERROR: (Address|Leak|Thread)Sanitizer")
  endif()
  target_include_directories(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz)
  target_link_libraries(fuzz_${name} PRIVATE cambium)
endforeach()
