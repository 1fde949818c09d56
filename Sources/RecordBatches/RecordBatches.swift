// Record batches, magic 2: view, builder, iterator, compression.
