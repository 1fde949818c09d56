// What connections get their TLS from: one context for a listener, one for connections to other nodes. Both can be given other keys and
// certificates while they are in use; connections that stand keep theirs.
import Authentication
import Glibc
import NIOCore
import NIOSSL
import Synchronization

/// A context together with the state of the files it was read from.
private struct LoadedContext: Sendable {
    var settings: TLSSettings
    var context: NIOSSLContext
    var files: [FileState]

    init(_ settings: TLSSettings, isServer: Bool) throws(TLSFailure) {
        self.settings = settings
        // Noted before they are read: what is written in between is then seen as a change later.
        files = FileState.of(settings)
        let configuration = try settings.configuration(isServer: isServer)
        do {
            context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw TLSFailure(
                "the key does not belong to the certificate, or a setting cannot be used: \(TLSPeer.codes(in: error) ?? "\(error)")")
        }
    }
}

/// What tells whether a file is still the one that was read.
private struct FileState: Sendable, Equatable {
    var path: String
    var inode: UInt64
    var size: Int
    var seconds: Int
    var nanoseconds: Int

    static func of(_ settings: TLSSettings) -> [FileState] {
        [settings.keyStore?.location, settings.trustStore?.location].compactMap { path in
            guard let path else { return nil }
            var status = stat()
            guard stat(path, &status) == 0 else { return FileState(path: path, inode: 0, size: -1, seconds: 0, nanoseconds: 0) }
            return FileState(
                path: path, inode: UInt64(status.st_ino), size: Int(status.st_size), seconds: status.st_mtim.tv_sec,
                nanoseconds: status.st_mtim.tv_nsec)
        }
    }
}

/// Keeps a context and reads it again on demand.
final class ReloadableContext: Sendable {
    private let isServer: Bool
    private let loaded: Mutex<LoadedContext>

    init(_ settings: TLSSettings, isServer: Bool) throws(TLSFailure) {
        self.isServer = isServer
        loaded = Mutex(try LoadedContext(settings, isServer: isServer))
    }

    var current: NIOSSLContext { loaded.withLock { $0.context } }

    var settings: TLSSettings { loaded.withLock { $0.settings } }

    /// Reads everything again where settings or files are not what they were. What was in use stays in use when that fails.
    ///
    /// - Returns: whether there was anything new.
    func reload(_ settings: TLSSettings?) throws(TLSFailure) -> Bool {
        let (known, files) = loaded.withLock { ($0.settings, $0.files) }
        let wanted = settings ?? known
        if wanted == known, FileState.of(wanted) == files { return false }
        let new = try LoadedContext(wanted, isServer: isServer)
        loaded.withLock { $0 = new }
        return true
    }
}

/// TLS of a listener.
public final class TLSServerContext: Sendable {
    private let context: ReloadableContext

    public init(_ settings: TLSSettings) throws(TLSFailure) {
        context = try ReloadableContext(settings, isServer: true)
    }

    /// Goes over to other settings, or reads the files again if they changed; nil for the settings as they are.
    ///
    /// - Returns: whether there was anything new.
    public func reload(_ settings: TLSSettings? = nil) throws(TLSFailure) -> Bool { try context.reload(settings) }

    /// The files that keys and certificates come from, for messages.
    public var files: [String] { context.settings.files }

    /// The handler of a new connection; belongs at the channel's end of the pipeline.
    public func makeHandler() -> NIOSSLServerHandler { NIOSSLServerHandler(context: context.current) }
}

/// TLS towards servers.
public final class TLSClientContext: Sendable {
    private let context: ReloadableContext

    public init(_ settings: TLSSettings) throws(TLSFailure) {
        context = try ReloadableContext(settings, isServer: false)
    }

    /// As for a listener.
    public func reload(_ settings: TLSSettings? = nil) throws(TLSFailure) -> Bool { try context.reload(settings) }

    /// The files that keys and certificates come from, for messages.
    public var files: [String] { context.settings.files }

    /// The handler of a new connection to that host.
    public func makeHandler(host: String) throws -> NIOSSLClientHandler {
        // An address is no name that could be asked for; it is still looked for in the certificate.
        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
        return try NIOSSLClientHandler(context: context.current, serverHostname: isAddress ? nil : host)
    }
}

extension TLSSettings {
    /// The files that keys and certificates come from.
    var files: [String] { [keyStore?.location, trustStore?.location].compactMap(\.self) }

    fileprivate func configuration(isServer: Bool) throws(TLSFailure) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        if let keyStore {
            let material = try TLSMaterial(keyStore: keyStore)
            guard let key = material.key else { throw TLSFailure("\(keyStore) has no key") }
            if isServer {
                configuration = .makeServerConfiguration(
                    certificateChain: material.certificates.map { .certificate($0) }, privateKey: .privateKey(key))
            } else {
                configuration.certificateChain = material.certificates.map { .certificate($0) }
                configuration.privateKey = .privateKey(key)
            }
        } else if isServer {
            throw TLSFailure("a listener needs a key and a certificate (ssl.keystore.location, or ssl.keystore.key)")
        }
        if let trustStore { configuration.trustRoots = .certificates(try TLSMaterial(trustStore: trustStore).certificates) }
        if isServer {
            switch clientAuthentication {
            case .none: configuration.certificateVerification = .none
            case .requested: configuration.certificateVerification = .optionalVerification
            case .required: configuration.certificateVerification = .noHostnameVerification
            }
            configuration.sendCANameList = clientAuthentication != .none && trustStore != nil
        } else {
            configuration.certificateVerification = verifiesHostName ? .fullVerification : .noHostnameVerification
        }
        configuration.minimumTLSVersion = protocols.contains("TLSv1.2") ? .tlsv12 : .tlsv13
        configuration.maximumTLSVersion = protocols.contains("TLSv1.3") ? .tlsv13 : .tlsv12
        let older = cipherSuites.compactMap(CipherSuite.openSSLName)
        if !older.isEmpty { configuration.cipherSuites = older.joined(separator: ":") }
        configuration.shutdownTimeout = .seconds(2)
        return configuration
    }
}

/// Java's names of cipher suites, which Kafka's configurations have, and the library's.
enum CipherSuite {
    /// The library's name; nil for suites of TLS 1.3, which cannot be chosen, and for unknown ones.
    static func openSSLName(_ name: String) -> String? {
        guard name.hasPrefix("TLS_ECDHE_") || name.hasPrefix("TLS_RSA_") else { return name.hasPrefix("TLS_") ? nil : name }
        var text = name.dropFirst(4).replacing("_WITH_AES_", "-AES").replacing("AES_", "AES")
        text = text.replacing("_WITH_CHACHA20_POLY1305_SHA256", "-CHACHA20-POLY1305")
        if text.hasPrefix("RSA-") { text = String(text.dropFirst(4)) }
        return text.replacing("_CBC_SHA256", "-SHA256").replacing("_CBC_SHA", "-SHA").replacing("_", "-")
    }
}

extension StringProtocol {
    /// This with every occurrence of one text replaced; the standard library has it only with regular expressions.
    fileprivate func replacing(_ text: String, _ other: String) -> String {
        var result = ""
        var rest = Substring(self)
        while !rest.isEmpty {
            if rest.hasPrefix(text) {
                result += other
                rest = rest.dropFirst(text.count)
            } else {
                result.append(rest.removeFirst())
            }
        }
        return result
    }
}
