// Metadata records to immutable image and delta.
