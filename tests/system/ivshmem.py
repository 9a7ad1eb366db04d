# SPDX-License-Identifier: BSD-2-Clause
"""The server of QEMU's ivshmem-doorbell (QEMU documentation, "Device Specification for Inter-VM shared memory device"), for one peer at a time:
with itself as its only peer, a device raises its own MSI-X vectors when its Doorbell is written, and needs no DMA for it."""
import os
import socket
import struct
import threading


class Server:
    def __init__(self, path, vectors, size=1 << 20):
        self.vectors, self.held = vectors, []
        self.memory = os.memfd_create("ivshmem")
        os.ftruncate(self.memory, size)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        peer = 0
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            self.held.append(client)
            self.welcome(client, peer)
            peer += 1

    def welcome(self, client, peer):
        client.sendall(struct.pack("<qq", 0, peer))  # version of the protocol, who you are
        socket.send_fds(client, [struct.pack("<q", -1)], [self.memory])
        for _ in range(self.vectors):
            event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            socket.send_fds(client, [struct.pack("<q", peer)], [event])
            self.held.append(event)

    def close(self):
        self.socket.close()
