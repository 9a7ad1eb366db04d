// SPDX-License-Identifier: BSD-2-Clause
// lan: what a frame costs in TSC ticks (instructions under Bochs) between a guest with two virtual NICs and
// whoever gets it. 64 frames are given with one notification, and one; the difference, 63rds of it, is a
// frame's. The smallest of 7 runs. Lines: "lan: NAME = ticks". out: from the guest into the queue of whom it
// is for. in: from the port's queue into the guest.
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/text.h"
#include "tests/guests/lib/virtio_nic.h"

#define RUNS      7u
#define MANY      64u
#define ETHERTYPE 0x88b6u // for local experiments
#define NOBODY    "\x02\x00\x00\xff\xff\xff"

static struct virtio_nic a, b;

static void report(const char *name, uint32_t size, uint64_t one, uint64_t many)
{
    uint64_t each = many - one;
    divide(&each, MANY - 1);
    print("lan: %s.%u = %llu\n", name, size, each);
    print("lan: %s.%u.first = %llu\n", name, size, one);
}

static void frame_to(const void *to, const uint8_t *from, uint32_t size)
{
    static uint8_t frame[VIRTIO_NIC_FRAME];
    for (unsigned i = 0; i < 6; i++) {
        frame[i] = ((const uint8_t *)to)[i];
        frame[6 + i] = from[i];
    }
    frame[12] = ETHERTYPE >> 8;
    frame[13] = ETHERTYPE & 0xff;
    for (uint32_t i = 14; i < size; i++)
        frame[i] = (uint8_t)i;
    virtio_nic_frame(&a, frame, size);
}

/// Frames that could not be sent at once are sent when the host looks at the guest the next time.
static void until_sent(void)
{
    while (virtio_nic_waiting(&a.transmit))
        ;
}

static uint64_t least(uint64_t x, uint64_t y)
{
    return x < y ? x : y;
}

/// To somebody who is not this guest.
static void out(const char *name, const void *to, const uint8_t *from, uint32_t size)
{
    uint64_t one = UINT64_MAX, many = UINT64_MAX;
    frame_to(to, from, size);
    for (unsigned run = 0; run < RUNS; run++) {
        one = least(one, virtio_nic_send(&a, 1));
        until_sent();
        uint64_t ticks = virtio_nic_send(&a, MANY);
        if (virtio_nic_waiting(&a.transmit) == 0)
            many = least(many, ticks);
        until_sent();
    }
    if (many == UINT64_MAX)
        print("lan: %s.%u: %u frames never went at once\n", name, size, MANY);
    else
        report(name, size, one, many);
}

/// From the one NIC to the other, and into the guest again.
static void to_and_fro(uint32_t size)
{
    uint64_t out_one = UINT64_MAX, out_many = UINT64_MAX, in_one = UINT64_MAX, in_many = UINT64_MAX;
    unsigned lost = 0;
    frame_to(b.mac, a.mac, size);
    for (unsigned run = 0; run < RUNS; run++) {
        out_one = least(out_one, virtio_nic_send(&a, 1));
        in_one = least(in_one, virtio_nic_take(&b, 1));
        lost += virtio_nic_waiting(&b.receive);
        out_many = least(out_many, virtio_nic_send(&a, MANY));
        in_many = least(in_many, virtio_nic_take(&b, MANY));
        lost += virtio_nic_waiting(&b.receive);
    }
    for (uint32_t i = 0; i < size; i++)
        lost += b.receive.packet[VIRTIO_NIC_HEADER + i] != a.transmit.packet[VIRTIO_NIC_HEADER + i];
    if (lost)
        print("lan: guest: %u frames were lost, or bytes of the last\n", lost);
    report("out_guest", size, out_one, out_many);
    report("in_guest", size, in_one, in_many);
}

int guest_main(void)
{
    static const uint32_t sizes[] = {60, 1514};
    __asm__ volatile("cli");
    if (!virtio_nic_start(&a, 0) || !virtio_nic_start(&b, 1) || a.places < MANY || b.places < MANY) {
        print("lan: it takes two virtual NICs\n");
        return 1;
    }
    for (unsigned i = 0; i < 2; i++) {
        to_and_fro(sizes[i]);
        out("out_refused", NOBODY, b.mac, sizes[i]); // with another's address: no further than the filter
    }
    if (option_given("wire")) {
        for (unsigned i = 0; i < 2; i++)
            out("out_wire", NOBODY, a.mac, sizes[i]);
    }
    print("lan: done\n");
    return 0;
}
