cam_test(store database)
cam_test(store journal)
cam_test(store history)
