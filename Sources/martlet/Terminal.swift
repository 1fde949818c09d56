// What commands say to people, on the right stream and at once.
import Glibc

/// The two output streams of the process, unbuffered by anything of ours.
enum Terminal {
    /// Results: what a script would read.
    static func print(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }

    /// Everything else: mistakes, progress, remarks.
    static func complain(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    /// Whether standard output is looked at by a person.
    static var isInteractive: Bool { isatty(STDOUT_FILENO) == 1 }

    private static func write(_ text: String, to descriptor: Int32) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0, errno != EINTR { return }
            bytes = bytes.dropFirst(max(0, written))
        }
    }
}
