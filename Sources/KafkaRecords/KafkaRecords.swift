// Generated metadata, coordinator and data records live in Generated/.
