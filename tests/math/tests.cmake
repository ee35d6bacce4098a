cam_test(math topk)
