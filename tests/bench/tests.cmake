cam_test(bench measuring)
cam_test(bench benchmarks)
cam_test(bench lifelong)
