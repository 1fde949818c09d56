// Passwords on their way into a command: from a file, the environment or the keyboard, never from the command line, which everybody on
// the machine can read.
import ArgumentParser
import Configuration
import Glibc

/// Where a password comes from.
struct SecretOptions: ParsableArguments {
    static let environmentVariable = "MARTLET_PASSWORD"

    @Option(help: "File whose first line is the password; - for standard input.", completion: .file())
    var passwordFile: String?

    /// The password: of the file, of $MARTLET_PASSWORD, or typed in.
    func password(for user: String) throws -> String {
        let password: String
        if let passwordFile {
            password = passwordFile == "-" ? readLine(strippingNewline: true) ?? "" : try Self.firstLine(of: passwordFile)
        } else if let variable = getenv(Self.environmentVariable), variable.pointee != 0 {
            password = String(cString: variable)
        } else {
            password = try Self.typed("Password for \(user): ")
        }
        guard !password.isEmpty else { throw CommandFailure("the password is empty") }
        return password
    }

    private static func firstLine(of path: String) throws -> String {
        switch ConfigurationFile.text(path) {
        case .success(let text): return text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
        case .failure(let failure): throw CommandFailure("\(path) \(failure.reason)")
        }
    }

    private static func typed(_ prompt: String) throws -> String {
        guard isatty(STDIN_FILENO) == 1 else {
            throw CommandFailure("a password is needed: --password-file FILE (- for standard input), or $\(environmentVariable)")
        }
        Terminal.write(prompt, to: STDERR_FILENO)
        var before = termios()
        tcgetattr(STDIN_FILENO, &before)
        var silent = before
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
            Terminal.write("\n", to: STDERR_FILENO)
        }
        return readLine() ?? ""
    }
}
