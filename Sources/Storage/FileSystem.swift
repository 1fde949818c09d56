// The system calls this module is made of, with typed errors. Nothing here keeps state.
import Glibc

enum FileSystem {
    static func message(of code: Int32) -> String {
        String(cString: strerror(code))
    }
}
