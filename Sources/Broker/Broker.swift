// The services of a broker, one handler a file.
