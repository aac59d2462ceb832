"""What several rooms need and none owns: files, memory, threads, text."""
