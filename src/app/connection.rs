//! The actor of a connection to any peer: it drives its socket in its own context and ends with it.
//!
//! Outgoing frames do not pass its mailbox: shards and processors' actors write frames into its [`Outgoing`] from
//! their own threads, so that an acknowledgement costs no message.

use crate::transport::{ConnectionTimeouts, Flow, Outgoing, Peer, PeerHandler};
use crate::wire::LinkError;
use actix::prelude::SendError;
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use std::fmt::Display;

/// A connection, from the end of its handshake to its own.
pub(super) struct Connection<H> {
    /// Taken when it starts; boxed, since the place for it stays.
    unserved: Option<Box<(Peer, H)>>,
}

impl<H: PeerHandler + Unpin + 'static> Connection<H> {
    /// Serves a peer on this thread until one of the two goes.
    pub fn serve(peer: Peer, handler: H) {
        Connection { unserved: Some(Box::new((peer, handler))) }.start();
    }
}

impl<H: PeerHandler + Unpin + 'static> Actor for Connection<H> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some(unserved) = self.unserved.take() else { return };
        let (peer, handler) = *unserved;
        let served = peer.serve(handler, ConnectionTimeouts::default()).into_actor(self);
        context.spawn(served.map(|_, _, context: &mut Self::Context| context.stop()));
    }
}

/// Sends the link's own messages; `reply` is empty afterwards.
pub(super) fn answer(outgoing: &Outgoing, reply: &mut Vec<u8>) {
    if !reply.is_empty() {
        // The connection is closed; the handler is notified of its end.
        let _ = outgoing.send(|out| out.append(reply));
        reply.clear();
    }
}

/// Closes after a peer's fault, once what was queued for it is written.
pub(super) fn close(peer: impl Display, error: &LinkError) -> Flow {
    tracing::warn!(%peer, %error, "a peer breaks the protocol: its connection is closed");
    Flow::Close(error.to_string().into())
}

/// Hands a message to an actor. When its mailbox is full the message waits for room; there is never more than one of a
/// kind waiting for each connection, since nothing is read meanwhile.
pub(super) fn deliver<A, M>(address: &Addr<A>, message: M)
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message<Result = ()> + Send + 'static,
{
    if let Err(SendError::Full(message)) = address.try_send(message) {
        let address = address.clone();
        actix_rt::spawn(async move { address.send(message).await });
    }
}
