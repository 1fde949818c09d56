// DeleteGroups: removes empty groups with their offsets.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func deleteGroups(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DeleteGroupsRequest.self)
        let responder = context.responder
        let access = access(context)
        var permitted = request
        permitted.groupsNames = request.groupsNames.filter { access.allows(.delete, .group, $0) }
        let allowed = Set(permitted.groupsNames)
        let denied = request.groupsNames.filter { !allowed.contains($0) }.map { id in
            var result = DeleteGroupsResponse.DeletableGroupResult()
            result.groupId = id
            result.errorCode = .groupAuthorizationFailed
            return result
        }
        groups.deleteGroups(permitted, context: context.group) { answer in
            var response = answer
            response.results += denied
            responder.send(response)
        }
    }
}
