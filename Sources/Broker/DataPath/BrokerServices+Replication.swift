// Joins replication to the rest of the node: the loops on which it fetches, the epoch it fetches under, the controller it asks.
import KafkaMessages
import NIOCore
import Replication

extension BrokerServices {
    /// How long the controller may take over a change of in-sync replicas before it is asked anew.
    private static let alterPartitionTimeoutMilliseconds: Int64 = 30_000

    /// Begins to fetch what this node follows, and to propose changes of in-sync replicas.
    func startReplication(on eventLoopGroup: any EventLoopGroup) {
        transactions.start(self, on: eventLoopGroup)
        shareGroups.persister.start(self, on: eventLoopGroup)
        links.start(self, on: eventLoopGroup)
        let channel = controllerChannel
        replication.start(eventLoopGroup: eventLoopGroup, brokerEpoch: { [lifecycle] in lifecycle.brokerEpoch }) { request, reply in
            channel.send(request, versions: 3...3, timeoutMilliseconds: Self.alterPartitionTimeoutMilliseconds) { outcome in
                reply(outcome.mapError { $0 as any Error })
            }
        }
    }
}
