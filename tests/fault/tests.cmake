# Failing disks and memory, and what a power cut leaves (support/fault_*.h).  Each sweeps over some
# of the places a fault may come at, and as <name>_all, which is slow, over many more.
function(cam_fault_test noun cases)
  cam_test(fault ${noun} LABELS fault ${ARGN})
  add_test(NAME fault.${noun}_all COMMAND test_${noun})
  set_tests_properties(fault.${noun}_all PROPERTIES LABELS "fault;slow" TIMEOUT 1800
    ENVIRONMENT "CAM_FAULT_CASES=${cases};ASAN_OPTIONS=detect_leaks=1"
    FAIL_REGULAR_EXPRESSION "ERROR: (Address|Leak|Thread)Sanitizer")
endfunction()

cam_fault_test(power_cut 1 SOURCES support/fault_io.c support/fault_disk.c)
cam_fault_test(io_faults 150 SOURCES support/fault_io.c)
cam_fault_test(memory_faults 400)
target_link_options(test_memory_faults PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc
  -Wl,--wrap=realloc -Wl,--wrap=aligned_alloc -Wl,--wrap=strdup)
cam_fault_test(forget_faults 150 SOURCES support/fault_io.c support/fault_disk.c)
