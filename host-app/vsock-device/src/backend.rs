//! What QEMU sees: the vhost-user backend. It has one thread that handles the queues and one that
//! handles QEMU's requests (both of the crate `vhost-user-backend`); the lock around this type keeps
//! them apart.

use std::{io, ops::Deref as _};

use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackendMut, VringMutex, VringState, VringT as _};
use virtio_bindings::{
    virtio_config::VIRTIO_F_VERSION_1,
    virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC},
};
use virtio_queue::{Queue, QueueT as _};
use vm_memory::{GuestAddressSpace as _, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::{
    epoll::EventSet,
    event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier},
};

use crate::{
    device::Device,
    packet::MAX_PAYLOAD,
    queues::{self, Left, Payload},
};

/// To the guest, from the guest, and events, of which there are none without migration
/// (virtio 1.2, section 5.10.2).
const QUEUES: usize = 3;
const FROM_GUEST: u32 = 1;
const QUEUE_SIZE: usize = 1024;

/// The event of the device's own file descriptor; smaller ones are the crate's.
pub(crate) const DEVICE_EVENT: u16 = QUEUES as u16 + 1;

/// The guest's memory, as QEMU shares it.
pub(crate) type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

pub(crate) struct Backend {
    device: Device,
    memory: Memory,
    guest_cid: u64,
    payload: Payload,
    /// QEMU has stopped the queues since packets were last handled.
    stopped: bool,
}

impl Backend {
    pub(crate) fn new(device: Device, guest_cid: u64, memory: Memory) -> Self {
        Self { device, memory, guest_cid, payload: Box::new([0; MAX_PAYLOAD]), stopped: false }
    }

    /// One turn of packets on one queue, and the guest's notification.
    fn turn(&mut self, vring: &VringMutex<Memory>, direction: Direction) -> Left {
        let mut vring = vring.get_mut();
        if !vring.is_enabled() || !vring.get_queue().ready() {
            return Left::Nothing;
        }
        let memory = self.memory.memory();
        let (memory, queue) = (memory.deref(), vring.get_queue_mut());
        let left = direction(queue, memory, &mut self.device, &mut self.payload);
        if let Err(error) = notify(&mut vring) {
            tracing::debug!(%error, "cannot notify the guest");
        }
        left.unwrap_or_else(|error| {
            tracing::debug!(%error, "the guest's queue is broken");
            Left::Nothing
        })
    }
}

type Direction = fn(
    &mut Queue,
    &GuestMemoryMmap,
    &mut Device,
    &mut Payload,
) -> Result<Left, virtio_queue::Error>;

fn notify(vring: &mut VringState<Memory>) -> io::Result<()> {
    if vring.needs_notification().map_err(io::Error::other)? {
        vring.signal_used_queue()
    } else {
        Ok(())
    }
}

impl VhostUserBackendMut for Backend {
    type Bitmap = ();
    type Vring = VringMutex<Memory>;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_EVENT_IDX
            | 1 << VIRTIO_RING_F_INDIRECT_DESC
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::CONFIG
    }

    /// The queues know by themselves.
    fn set_event_idx(&mut self, _enabled: bool) {}

    /// `struct virtio_vsock_config`: the guest's context id.
    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let config = self.guest_cid.to_le_bytes();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        config.get(start..end).map(<[u8]>::to_vec).unwrap_or_default()
    }

    fn update_memory(&mut self, memory: Memory) -> io::Result<()> {
        self.memory = memory;
        Ok(())
    }

    fn reset_device(&mut self) {
        self.device.reset();
    }

    fn stop_vring(&mut self, index: u32) -> io::Result<()> {
        self.stopped |= index == FROM_GUEST;
        Ok(())
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC).ok()
    }

    fn handle_event(
        &mut self,
        event: u16,
        _events: EventSet,
        vrings: &[Self::Vring],
        _thread: usize,
    ) -> io::Result<()> {
        let handled = self.handle(event, vrings);
        if let Err(error) = &handled {
            // Else only this thread would end, and programs would wait for ever.
            tracing::error!(%error, "the vsock device has failed");
            std::process::exit(1);
        }
        handled
    }
}

impl Backend {
    fn handle(&mut self, event: u16, vrings: &[VringMutex<Memory>]) -> io::Result<()> {
        let [to_guest, from_guest, ..] = vrings else { return Ok(()) };
        if event == DEVICE_EVENT {
            self.device.poll()?;
        }
        if std::mem::take(&mut self.stopped) && from_guest.get_ref().get_queue().next_avail() == 0 {
            // Queues that begin anew have a new driver, which knows nothing of connections.
            self.device.reset();
        }
        let taken = self.turn(from_guest, queues::take);
        let given = self.turn(to_guest, queues::give);
        if taken == Left::More || given == Left::More {
            // Not a loop: QEMU's requests and the host's events have their turn too.
            self.device.wake()?;
        }
        Ok(())
    }
}
