// SPDX-License-Identifier: BSD-2-Clause
// LINK: remote-fw/executor.c remote-fw/functions.c remote-fw/config_mask.c remote-fw/reset.c
// The remote's completer, fed with records as a hostile host could make them, one after the other on one mock
// function whose configuration space the input chooses too. The mock aborts on any access out of bounds; here
// it is checked besides that the completion fits the request and that protected registers stay as they were.
//
// Input: byte 0: bit 0 own configuration space (then 64 dwords of it follow), bit 1 the function is being
// reset; then records: length byte, type, handle, and that many bytes of body.
#include "remote-fw/executor.h"
#include "tests/unit/mock_function.h"

static struct functions table;
static struct mock_device device;
static int host;

static void check(const struct wire_record *rec, const uint8_t *body, size_t size,
                  const struct completion *out)
{
    bool read = rec->type == REC_CFG_RD || rec->type == REC_IO_RD || rec->type == REC_MRD;
    mock_require(rec->type != REC_MWR || !out->wanted);
    mock_require(out->size <= WIRE_ACCESS_MAX);
    mock_require(out->size == 0 || (read && out->status == CPL_SC));
    if (read && out->status == CPL_SC) {
        struct wire_access a;
        mock_require(size == sizeof a);
        memcpy(&a, body, sizeof a);
        mock_require(out->size == a.size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&table, 0, sizeof table);
    struct function *f = mock_lend(&table, &device, 4);
    if (functions_claim(&table, f, &host) != OK)
        abort();
    f->state = FUNCTION_LENT;

    if (size && (data[0] & 1) && size > 1 + 256) {
        memcpy(device.config + 0x34, data + 1, 0x100 - 0x34);
        memcpy(device.config + 0x100, data + 1, 256);
        device.other_layout = true;
        f->info.flags = 0;
        function_prepare(f);
    }
    if (size && data[0] & 2)
        f->state = FUNCTION_RESETTING;
    size_t at = !size ? 0 : (data[0] & 1) && size > 257 ? 257 : 1;

    uint8_t header[0x40];
    memcpy(header, device.config, sizeof header);
    while (at + 3 <= size) {
        size_t length = data[at];
        struct wire_record rec = {.type = data[at + 1], .function = data[at + 2]};
        at += 3;
        if (length > size - at)
            length = size - at;
        uint8_t *body = malloc(length ? length : 1); // exact, for ASan
        memcpy(body, data + at, length);
        struct completion out;
        executor_run(&table, &host, &rec, body, length, &out);
        check(&rec, body, length, &out);
        free(body);
        at += length;
        device.trace_count = 0;
    }
    mock_require(!((header[4] ^ device.config[4]) & 0xbf) && header[5] == device.config[5]);
    mock_require(!memcmp(header + 0x10, device.config + 0x10, 0x18)); // BARs
    mock_require(!memcmp(header + 0x30, device.config + 0x30, 4));
    return 0;
}
