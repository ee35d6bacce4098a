cam_test(store database)
