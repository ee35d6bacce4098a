cam_test(model pool)
cam_test(model retrieval)
cam_test(model peer DOUBLE LABELS grad)
cam_test(model generations)
