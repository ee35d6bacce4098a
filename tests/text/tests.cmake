cam_test(text tokenizer)
cam_test(text tokenizer_file)
cam_test(text tokenizer_split)
cam_test(text tokenizer_train)
