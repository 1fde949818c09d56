// Between the kernel and a listener's new connections: nothing is accepted that there is no place for, or that comes too fast.
import NIOCore
import Primitives

/// In a listening channel: accepts only while it may. Clients beyond that wait in the kernel's backlog, as with Kafka.
final class AcceptGate: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias OutboundIn = Never

    private let admission: ConnectionAdmission
    private let listener: Int
    private let warn: @Sendable () -> Void
    private let failed: @Sendable (any Error) -> Void

    init(
        admission: ConnectionAdmission, listener: Int, warn: @escaping @Sendable () -> Void,
        failed: @escaping @Sendable (any Error) -> Void
    ) {
        self.admission = admission
        self.listener = listener
        self.warn = warn
        self.failed = failed
    }

    func read(context: ChannelHandlerContext) {
        let eventLoop = context.eventLoop
        let bound = NIOLoopBound(context, eventLoop: eventLoop)
        let again: @Sendable () -> Void = {
            // The listener may have been closed while it waited.
            guard bound.value.channel.isActive else { return }
            bound.value.channel.pipeline.syncOperations.read()
        }
        let acceptance = admission.mayAccept(listener: listener, now: SystemClock.monotonicMilliseconds()) {
            eventLoop.execute(again)
        }
        switch acceptance {
        case .now: context.read()
        case .after(let milliseconds): eventLoop.scheduleTask(in: .milliseconds(milliseconds), again)
        case .whenFree: warn()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let channel = unwrapInboundIn(data)
        admission.opened(listener: listener, now: SystemClock.monotonicMilliseconds())
        channel.closeFuture.whenComplete { [admission, listener] _ in admission.closed(listener: listener) }
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Out of descriptors, or a client that left while being accepted. NIO pauses accepting for a moment by itself.
        failed(error)
    }
}
