cam_test(run trainer LABELS unit)
