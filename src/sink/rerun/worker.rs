//! The thread that talks to viewers.

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel as channel;
use tokio::sync::oneshot;

use super::hub::Hub;

/// Runs the connections of a [`Hub`] until the hub is closed and all has been handed over, or until
/// this is dropped.
pub(super) struct Worker {
    hub: Arc<Hub>,
    /// Ends the thread when it is dropped.
    _alive: oneshot::Sender<()>,
    ended: channel::Receiver<()>,
}

impl Worker {
    pub(super) fn start<F: Future<Output = ()>>(
        hub: &Arc<Hub>,
        work: impl FnOnce(Arc<Hub>) -> F + Send + 'static,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start what talks to viewers")?;
        let (alive, dropped) = oneshot::channel::<()>();
        let (ended_tx, ended) = channel::bounded(1);
        let for_work = Arc::clone(hub);
        thread::Builder::new().name("viewer".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work(for_work) => {}
                    _ = dropped => {}
                }
            });
            // Looking up a host's name can take its time.
            runtime.shutdown_background();
            let _ = ended_tx.send(());
        })?;
        Ok(Self { hub: Arc::clone(hub), _alive: alive, ended })
    }

    /// Closes the hub and waits until viewers have all of it, for at most `patience`. Says whether
    /// they have.
    pub(super) fn finish(self, patience: Duration) -> bool {
        self.hub.close();
        self.ended.recv_timeout(patience).is_ok()
    }
}
