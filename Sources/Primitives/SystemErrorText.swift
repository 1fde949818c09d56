// What the system says about one of its error numbers, in words that a person can act on.
import Glibc

/// Texts for `errno` values.
public enum SystemErrorText {
    /// The system's sentence, and the remedy where there is an obvious one.
    public static func bindFailure(_ number: Int32) -> String {
        let text = String(cString: strerror(number))
        return switch number {
        case EADDRINUSE: "\(text): another process listens there; stop it, or choose another port"
        case EADDRNOTAVAIL: "\(text): this machine has no such address"
        case EACCES: "\(text): ports below 1024 need a privilege; choose a higher one"
        default: text
        }
    }
}
