// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/l2.c net/wire.c
//
// Any bytes as Ethernet frames to the l2 carrier: the first byte says how much of a right frame's head is put
// over them (so that some get past each check), and whether Ethernet's shortest length is kept. What is
// taken must be what the frame's own header says, whole, from a neighbour, to us; and a right frame is taken.
#include "net/l2.h"
#include "net/neighbour.h"
#include "net/wire.h"
#include "rt/trace.h"

#include <stdlib.h>
#include <string.h>

#define OWN  0x0100000au // 10.0.0.1
#define LAN  0x0000000au
#define MASK 0x00ffffffu

void trace(enum trace_event event, uint32_t arg)
{
    (void)event;
    (void)arg;
}
uint32_t neighbour_address(void)
{
    return OWN;
}
bool neighbour_on_link(uint32_t address)
{
    return (address & MASK) == LAN && (address | MASK) != 0xffffffffu;
}
bool neighbour_find(uint32_t hop, uint8_t mac[6])
{
    (void)hop;
    (void)mac;
    return false;
}
bool neighbour_ask(uint32_t hop)
{
    (void)hop;
    return true;
}

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct nic nic = {.name = "fuzz", .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500};
    static const uint8_t head[18] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, 10, 0, 0, 2};
    if (size == 0 || size > 2000)
        return 0;
    l2_carrier_start(&nic);
    uint8_t how = data[0];
    size--;
    uint8_t *frame = malloc(size ? size : 1); // ASan sees every byte read too far
    memcpy(frame, data + 1, size);
    size_t repaired = how % 19 < size ? how % 19 : size;
    memcpy(frame, head, repaired);
    if (how & 0x80 &&
        size >= 18 + sizeof(struct wire_frame)) { // its length, too: all of it, or without padding
        uint16_t length = (uint16_t)(size - 18);
        if (how & 0x40 && size <= 60)
            length = sizeof(struct wire_frame);
        memcpy(frame + 18 + 6, &length, 2);
    }
    struct l2_frame out;
    enum l2_claim claim = l2_carrier_claim(frame, size, &out);
    bool ours = size >= 18 && memcmp(frame + 12, head + 12, 2) == 0;
    require(ours || claim == L2_NOT_OURS);
    if (claim == L2_OURS) {
        uint16_t length;
        memcpy(&length, frame + 18 + 6, 2);
        require(memcmp(frame, nic.mac, 6) == 0 && (frame[6] & 1) == 0);
        require(neighbour_on_link(out.peer) && out.peer != OWN && memcmp(&out.peer, frame + 14, 4) == 0);
        require(out.bytes == frame + 18 && out.size == length && length >= sizeof(struct wire_frame));
        require(18 + out.size == size || (18 + out.size < size && size <= 64));
        (void)wire_check_frame(out.bytes, out.size);
    }
    if (how & 0x80 && repaired == sizeof head && size >= 18 + sizeof(struct wire_frame))
        require(claim == L2_OURS);
    free(frame);
    return 0;
}
