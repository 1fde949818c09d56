// Who may ask for delegation tokens at all (KIP-48): whoever is known by other means than a token, over a connection that says who it is.
import Authorization
import Configuration
import KafkaMessages
import KafkaWire

enum TokenRequests {
    /// What a refused request is answered in place of a time.
    static let noTime: Int64 = -1

    /// Whether tokens may be asked for over a connection of a listener.
    ///
    /// - Parameter securityProtocol: of the listener; nil for plaintext.
    static func areAllowed(_ principal: KafkaPrincipal, _ securityProtocol: SecurityProtocol?) -> Bool {
        switch securityProtocol {
        case nil, .plaintext?: false
        case .ssl?: !principal.isTokenAuthenticated && principal != .anonymous
        default: !principal.isTokenAuthenticated
        }
    }

    /// Why a token may not be created; nil when it may.
    static func problem(
        _ request: CreateDelegationTokenRequest, _ requester: KafkaPrincipal, _ access: Access, isAllowed: Bool
    ) -> ErrorCode? {
        let owner = request.owner(requester)
        if !isAllowed { return .delegationTokenRequestNotAllowed }
        if owner != requester, !access.allows(.createTokens, .user, owner.description) { return .delegationTokenAuthorizationFailed }
        return request.renewers.allSatisfy { $0.principalType == KafkaPrincipal.userType } ? nil : .invalidPrincipalType
    }
}

extension BrokerServices {
    func allowsTokenRequests(_ context: RequestContext) -> Bool {
        TokenRequests.areAllowed(context.principal, security.listener(context.listenerName)?.settings.securityProtocol)
    }
}

extension ControllerServices {
    /// What a broker passed on it has looked at; only whoever logged in with a token is refused here as well.
    func allowsTokenRequests(_ call: ControllerRequest) -> Bool {
        guard let principal = call.principal else { return false }
        guard call.connection != nil, let listener = call.listenerName else { return !principal.isTokenAuthenticated }
        return TokenRequests.areAllowed(principal, security.listener(listener)?.settings.securityProtocol)
    }
}

extension CreateDelegationTokenResponse {
    static func refused(_ error: ErrorCode, owner: KafkaPrincipal, requester: KafkaPrincipal) -> Self {
        var response = Self(owner: owner, requester: requester)
        response.errorCode = error
        response.issueTimestampMs = TokenRequests.noTime
        response.expiryTimestampMs = TokenRequests.noTime
        response.maxTimestampMs = TokenRequests.noTime
        return response
    }
}
