cam_test(base fs)
cam_test(base settings)
