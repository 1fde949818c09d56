// Keys and certificates out of files and settings, with errors that say which file and what about it.
import Authentication
import Glibc
import NIOSSL

/// Why TLS cannot be set up; holds no secret.
public struct TLSFailure: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// What a store holds.
struct TLSMaterial {
    var key: NIOSSLPrivateKey?
    var certificates: [NIOSSLCertificate]

    /// Reads a key store: a key and the chain of its certificate.
    init(keyStore store: TLSStore) throws(TLSFailure) {
        switch store.kind {
        case .pem:
            let place = store.location ?? "ssl.keystore.certificate.chain"
            let keyText: [UInt8]
            let certificateText: [UInt8]
            if let location = store.location {
                keyText = try Self.read(location)
                certificateText = keyText
            } else {
                keyText = Array((store.key ?? "").utf8)
                certificateText = Array((store.certificates ?? "").utf8)
            }
            key = try Self.pemKey(keyText, store, place: store.location ?? "ssl.keystore.key")
            certificates = try Self.pemCertificates(certificateText, place: place)
        case .pkcs12:
            self = try Self(pkcs12: store)
        }
    }

    /// Reads a trust store: the certificates of those to be trusted.
    init(trustStore store: TLSStore) throws(TLSFailure) {
        switch store.kind {
        case .pem:
            let text = try store.location.map { (path) throws(TLSFailure) in try Self.read(path) } ?? Array((store.certificates ?? "").utf8)
            certificates = try Self.pemCertificates(text, place: store.location ?? "ssl.truststore.certificates")
        case .pkcs12:
            certificates = try Self(pkcs12: store).certificates
        }
    }

    private init(pkcs12 store: TLSStore) throws(TLSFailure) {
        let location = store.location ?? ""
        let bytes = try Self.read(location)
        // A bundle without a key, or without a certificate, would end the process in the library below.
        guard PKCS12Contents.hasKey(bytes), PKCS12Contents.mayHaveCertificates(bytes) else {
            throw TLSFailure(
                "\(location) is no PKCS#12 file with a key and a certificate; stores that hold certificates only are to be given as PEM: "
                    + "openssl pkcs12 -in \(location) -nokeys -out trusted.pem")
        }
        do {
            let bundle = try NIOSSLPKCS12Bundle(buffer: bytes, passphrase: store.password.map { Array($0.utf8) })
            key = bundle.privateKey
            certificates = bundle.certificateChain
        } catch {
            throw TLSFailure("\(location) cannot be read as PKCS#12; is its password right?")
        }
    }

    private static func pemKey(_ text: [UInt8], _ store: TLSStore, place: String) throws(TLSFailure) -> NIOSSLPrivateKey {
        guard let block = PEMText(text).first(where: { $0.hasSuffix("PRIVATE KEY") }) else {
            throw TLSFailure("\(place) has no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
        }
        let isEncrypted = block.label.hasPrefix("ENCRYPTED") || block.text.contains("Proc-Type: 4,ENCRYPTED")
        let password = store.keyPassword ?? store.password
        if isEncrypted, password == nil { throw TLSFailure("\(place) has an encrypted key, and ssl.key.password is not set") }
        do {
            return try NIOSSLPrivateKey(bytes: Array(block.text.utf8), format: .pem) { $0(Array((password ?? "").utf8)) }
        } catch {
            throw TLSFailure(
                isEncrypted ? "the key in \(place) cannot be decrypted; is ssl.key.password right?" : "the key in \(place) cannot be read")
        }
    }

    private static func pemCertificates(_ text: [UInt8], place: String) throws(TLSFailure) -> [NIOSSLCertificate] {
        let blocks = PEMText(text).all { $0 == "CERTIFICATE" || $0 == "X509 CERTIFICATE" || $0 == "TRUSTED CERTIFICATE" }
        guard !blocks.isEmpty else { throw TLSFailure("\(place) has no certificate in PEM form (-----BEGIN CERTIFICATE-----)") }
        var certificates: [NIOSSLCertificate] = []
        for (index, block) in blocks.enumerated() {
            do {
                certificates.append(try NIOSSLCertificate(bytes: Array(block.text.utf8), format: .pem))
            } catch {
                throw TLSFailure("certificate \(index + 1) in \(place) cannot be read")
            }
        }
        return certificates
    }

    private static let maximumBytes = 16 << 20

    static func read(_ path: String) throws(TLSFailure) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw TLSFailure("\(path) cannot be opened: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count < 0 { throw TLSFailure("\(path) cannot be read: \(String(cString: strerror(errno)))") }
            if count == 0 { return content }
            content += chunk[..<count]
            if content.count > maximumBytes { throw TLSFailure("\(path) is too large for keys and certificates") }
        }
    }
}

/// The blocks of a PEM text.
struct PEMText {
    struct Block {
        var label: String
        var text: String
    }

    private var blocks: [Block] = []

    init(_ bytes: [UInt8]) {
        var label: String?
        var lines: [Substring] = []
        // A value in a properties file may have lost its line breaks but for "\n" as two letters.
        let text = String(decoding: bytes, as: UTF8.self)
        for line in text.split(whereSeparator: \.isNewline) {
            let trimmed = line.drop { $0 == " " || $0 == "\t" }
            if trimmed.hasPrefix("-----BEGIN "), let end = trimmed.dropFirst(11).firstIndex(of: "-") {
                label = String(trimmed.dropFirst(11)[..<end])
                lines = [trimmed]
            } else if let current = label {
                lines.append(trimmed)
                if trimmed.hasPrefix("-----END ") {
                    blocks.append(Block(label: current, text: lines.joined(separator: "\n") + "\n"))
                    label = nil
                }
            }
        }
        if blocks.isEmpty { blocks = Self.withoutLineBreaks(text) }
    }

    /// Kafka also takes PEM on a single line: the base64 text is then broken into lines here.
    private static func withoutLineBreaks(_ text: String) -> [Block] {
        var blocks: [Block] = []
        var rest = text.split(separator: "-----", omittingEmptySubsequences: true)[...]
        while let begin = rest.firstIndex(where: { $0.hasPrefix("BEGIN ") }), begin + 2 < rest.endIndex {
            let label = String(rest[begin].dropFirst(6))
            let body = rest[begin + 1].filter { !$0.isWhitespace }
            var text = "-----BEGIN \(label)-----\n"
            var remaining = Substring(body)
            while !remaining.isEmpty {
                text += remaining.prefix(64) + "\n"
                remaining = remaining.dropFirst(64)
            }
            blocks.append(Block(label: label, text: text + "-----END \(label)-----\n"))
            rest = rest[(begin + 3)...]
        }
        return blocks
    }

    func first(where isWanted: (String) -> Bool) -> Block? { blocks.first { isWanted($0.label) } }
    func all(where isWanted: (String) -> Bool) -> [Block] { blocks.filter { isWanted($0.label) } }
}

/// What can be told of a PKCS#12 file without its password: the kinds of bags, by their object identifiers.
enum PKCS12Contents {
    private static let keyBag: [UInt8] = [0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x01]
    private static let shroudedKeyBag: [UInt8] = [0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02]
    private static let certificateBag: [UInt8] = [0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03]
    private static let encryptedData: [UInt8] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06]

    static func hasKey(_ bytes: [UInt8]) -> Bool { contains(bytes, keyBag) || contains(bytes, shroudedKeyBag) }
    static func mayHaveCertificates(_ bytes: [UInt8]) -> Bool { contains(bytes, certificateBag) || contains(bytes, encryptedData) }

    private static func contains(_ bytes: [UInt8], _ wanted: [UInt8]) -> Bool {
        guard bytes.count >= wanted.count else { return false }
        return (0...(bytes.count - wanted.count)).contains { start in
            bytes[start] == wanted[0] && bytes[start..<(start + wanted.count)].elementsEqual(wanted)
        }
    }
}
