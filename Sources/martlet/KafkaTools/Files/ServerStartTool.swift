// `kafka-server-start`: a node as its configuration says.
import ArgumentParser

enum ServerStartTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-server-start", "Start a node with server.properties.", [.value("override", as: "property=value", "A setting of its own.")])

    static func run(_ arguments: [String]) async throws -> Int32 {
        // The script's own option and the process manager's, which come first.
        guard let file = arguments.first, !file.hasPrefix("-") else {
            Terminal.complain("USAGE: kafka-server-start.sh [-daemon] server.properties [--override property=value]*")
            return 1
        }
        let options = try syntax.parse(Array(arguments.dropFirst()), helpWithoutArguments: false)
        var passed = [file]
        for override in options.values("override") { passed += ["--override", override] }
        do {
            try ServerCommand.parse(passed).run()
            return 0
        } catch let code as ExitCode {
            return code.rawValue
        } catch let failure as CommandFailure {
            Terminal.complain(failure.description)
            return 1
        }
    }
}
