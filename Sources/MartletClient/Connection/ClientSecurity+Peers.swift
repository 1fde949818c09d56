// The same security for connections that are not this library's: links fetch over the broker's own.
import Authentication
import NIOCore
import TransportSecurity

extension ClientSecurity {
    /// Nil for plaintext.
    package var peerTLS: TLSClientContext? { tls }

    /// What to log in with, asked for at every login; nil without SASL. It gives nil as long as there is no token, which is asked for meanwhile.
    package func peerCredentials(on group: any EventLoopGroup) -> (@Sendable () -> SaslCredentials?)? {
        guard let credentials else { return nil }
        guard let tokens else { return { credentials } }
        return {
            tokens.present(on: group).map { token in
                var known = credentials
                known.password = token
                return known
            }
        }
    }
}
