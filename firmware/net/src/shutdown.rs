//! The one switch that tells all connections to end.

use tokio::sync::watch;

/// A new switch, and what waits for it.
pub fn stop_switch() -> (Stop, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Stop(sender), Shutdown(receiver))
}

/// The hand on the switch. Dropping it counts as pressing it: nobody is left who could.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

/// Waits for the switch. Clones wait for the same one.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Stop {
    /// Tells everyone. There is no way back.
    pub fn press(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Returns when the switch is or was pressed. Cancel-safe.
    pub async fn requested(&mut self) {
        // An error says that the switch was dropped.
        let _ = self.0.wait_for(|is_pressed| *is_pressed).await;
    }

    /// Whether the switch was pressed.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}
