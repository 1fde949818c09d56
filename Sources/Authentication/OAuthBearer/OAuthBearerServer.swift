// OAUTHBEARER on the server's side: one message with a token; where the token is not taken, the error and the client's confirmation.

/// One authentication by OAUTHBEARER.
struct OAuthBearerServer: Sendable {
    /// Why the token was not taken, while the client's confirmation is waited for.
    private var refusal: TokenFailure?

    /// Takes the client's next message.
    ///
    /// A client that answers the error by anything else than the confirmation has failed: Kafka would take another token then, which no
    /// client makes use of, and which would go round the delay of failed logins.
    mutating func step(_ message: [UInt8], token: (String) -> Result<AccessToken, TokenFailure>) -> SaslServerStep {
        if let refusal {
            return .failed(message == OAuthBearerMessage.confirmation ? .token(refusal) : .malformed)
        }
        guard let first = OAuthBearerMessage(message) else { return .failed(.malformed) }
        switch token(first.token) {
        case .failure(let failure):
            refusal = failure
            return .refused(Array(SaslFailure.invalidToken.utf8), .token(failure))
        case .success(let token):
            guard first.authorizationID.isEmpty || first.authorizationID == token.principalName else {
                return .failed(.otherTokenOwner(user: token.principalName, requested: first.authorizationID))
            }
            return .complete([], user: token.principalName, expiration: token.expirationMilliseconds)
        }
    }
}
