// `kafka-delegation-tokens`: creates, renews, ends and lists delegation tokens.
import Glibc
import MartletClient
import Primitives

enum DelegationTokensTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-delegation-tokens", "This tool helps to create, renew, expire, or describe delegation tokens.",
        [
            .value("bootstrap-server", as: "String", "REQUIRED: Brokers to begin with."),
            .value("command-config", as: "String", "REQUIRED: Client properties: tokens are only given to those who log in."),
            .flag("create", "Create a token."), .flag("renew", "Let a token be good for longer."), .flag("expire", "End a token."),
            .flag("describe", "List the tokens that you may see."),
            .value("owner-principal", as: "String", "Whom a token is for, or whose tokens are listed, type:name."),
            .value("renewer-principal", as: "String", "Who may renew the token, type:name."),
            .value("max-life-time-period", as: "Long", .long, "Milliseconds that the token can be good; -1 for the brokers' bound."),
            .value("renew-time-period", as: "Long", .long, "Milliseconds from now; -1 for the brokers' bound."),
            .value("expiry-time-period", as: "Long", .long, "Milliseconds from now; -1 for at once."),
            .value("hmac", as: "String", "The token's HMAC."),
        ])

    private static let actions = ["create", "renew", "expire", "describe"]

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try check(options)
        do {
            try await ToolAdmin.with(options) { admin in
                if options.has("create") {
                    try await create(options, admin)
                } else if options.has("renew") {
                    try await renew(options, admin)
                } else if options.has("expire") {
                    try await expire(options, admin)
                } else {
                    try await describe(options, admin)
                }
            }
            return 0
        } catch let error as KafkaError {
            Terminal.complain(error.javaText)
            return 1
        }
    }

    private static func check(_ options: ToolOptions) throws(ToolExit) {
        guard actions.filter({ options.has($0) }).count == 1 else {
            throw syntax.mistake("Command must include exactly one action: --create, --renew, --expire or --describe")
        }
        try syntax.require(options, "bootstrap-server", "command-config")
        if options.has("create") { try syntax.require(options, "max-life-time-period") }
        if options.has("renew") { try syntax.require(options, "hmac", "renew-time-period") }
        if options.has("expire") { try syntax.require(options, "hmac", "expiry-time-period") }
        try syntax.exclude(options, "create", ["hmac", "renew-time-period", "expiry-time-period"])
        try syntax.exclude(options, "renew", ["renewer-principal", "max-life-time-period", "expiry-time-period", "owner-principal"])
        try syntax.exclude(options, "expire", ["renew", "max-life-time-period", "renew-time-period", "owner-principal"])
        try syntax.exclude(options, "describe", ["renew-time-period", "max-life-time-period", "hmac", "expiry-time-period"])
    }

    private static func number(_ options: ToolOptions, _ name: String) -> Int64 { options.value(name).flatMap { Int64($0) } ?? -1 }

    private static func principals(_ options: ToolOptions, _ name: String) -> [String] { options.values(name).map(\.trimmingBlanks) }

    private static func list(_ texts: [String]) -> String { "[" + texts.joined(separator: ", ") + "]" }

    // MARK: Actions

    private static func create(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let renewers = principals(options, "renewer-principal")
        let lifetime = number(options, "max-life-time-period")
        Terminal.print("Calling create token operation with renewers :\(list(renewers)) , max-life-time-period :\(lifetime)")
        let token = try await admin.createDelegationToken(
            owner: principals(options, "owner-principal").first, renewers: renewers, lifetimeMilliseconds: lifetime)
        Terminal.print("Created delegation token with tokenId : \(token.id)")
        show([token])
    }

    private static func renew(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let (code, period) = (options.value("hmac") ?? "", number(options, "renew-time-period"))
        Terminal.print("Calling renew token operation with hmac :\(code) , renew-time-period :\(period)")
        let end = try await admin.renewDelegationToken(code: code, periodMilliseconds: period)
        Terminal.print("Completed renew operation. New expiry date : \(minute(end))")
    }

    private static func expire(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let (code, period) = (options.value("hmac") ?? "", number(options, "expiry-time-period"))
        Terminal.print("Calling expire token operation with hmac :\(code) , expire-time-period :\(period)")
        let end = try await admin.expireDelegationToken(code: code, periodMilliseconds: period)
        Terminal.print("Completed expire operation. New expiry date : \(minute(end))")
    }

    private static func describe(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let owners = principals(options, "owner-principal")
        Terminal.print(
            owners.isEmpty
                ? "Calling describe token operation for current user." : "Calling describe token operation for owners: \(list(owners))")
        let tokens = try await admin.describeDelegationTokens(owners: owners.isEmpty ? nil : owners)
        Terminal.write("Total number of tokens : \(tokens.count)", to: STDOUT_FILENO)
        show(tokens)
    }

    // MARK: Text

    private static func show(_ tokens: [DelegationTokenDescription]) {
        Terminal.print(
            "\n" + row("TOKENID", "HMAC", "OWNER", "REQUESTER", "RENEWERS", "ISSUEDATE", "EXPIRYDATE", "MAXDATE"))
        for token in tokens {
            Terminal.print(
                "\n"
                    + row(
                        token.id, token.code, token.owner, token.requester, list(token.renewers), minute(token.issued),
                        minute(token.expiration), minute(token.latestExpiration)))
        }
    }

    private static func row(_ columns: String...) -> String {
        zip(columns, [15, 30, 15, 15, 25, 15, 15, 15]).map { JavaFormat.padded($0, $1) }.joined(separator: " ")
    }

    /// As Java's `yyyy-MM-dd'T'HH:mm` in the zone of this machine.
    private static func minute(_ timestamp: Timestamp) -> String {
        var seconds = time_t(timestamp / 1000)
        var parts = tm()
        localtime_r(&seconds, &parts)
        func padded(_ number: Int32, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return "\(padded(parts.tm_year + 1900, 4))-\(padded(parts.tm_mon + 1, 2))-\(padded(parts.tm_mday, 2))"
            + "T\(padded(parts.tm_hour, 2)):\(padded(parts.tm_min, 2))"
    }
}
