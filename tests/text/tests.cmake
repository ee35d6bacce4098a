cam_test(text tokenizer)
cam_test(text tokenizer_file)
cam_test(text tokenizer_split)
cam_test(text tokenizer_train)
cam_test(text clean)
cam_test(text tokenizer_bundle)
cam_test(text tokenizer_memory LABELS unit fault)
target_link_options(test_tokenizer_memory PRIVATE
  -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
