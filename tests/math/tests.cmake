cam_test(math topk)
cam_test(math vector_rows)
cam_test(math panel)
