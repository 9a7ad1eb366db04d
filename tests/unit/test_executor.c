// SPDX-License-Identifier: BSD-2-Clause
// LINK: remote-fw/executor.c remote-fw/functions.c remote-fw/config_mask.c remote-fw/reset.c
// The remote's completer against a mock function: what it does, in which widths, and everything it must
// refuse.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "remote-fw/executor.h"
#include "remote-fw/reset.h"
#include "tests/unit/host/host.h"
#include "tests/unit/mock_function.h"
#include <cmocka.h>

static struct functions table;
static struct mock_device device, other;
static struct function *f;
static int host_a, host_b; // two owners
static struct completion out;

static int setup(void **state)
{
    (void)state;
    memset(&table, 0, sizeof table);
    f = mock_lend(&table, &device, 4);
    struct function *g = mock_lend(&table, &other, 5);
    assert_int_equal(functions_claim(&table, f, &host_a), OK);
    assert_int_equal(functions_claim(&table, g, &host_b), OK);
    f->state = g->state = FUNCTION_LENT;
    reset_enable(f);
    reset_enable(g);
    device.decoding_checked = other.decoding_checked = true;
    device.trace_count = other.trace_count = 0;
    for (unsigned i = 0; i < sizeof device.bar0; i++)
        device.bar0[i] = (uint8_t)(i * 7);
    for (unsigned i = 0; i < sizeof device.bar2; i++)
        device.bar2[i] = (uint8_t)(0x40 + i);
    return 0;
}

static struct function *request(const void *from, uint16_t handle, uint8_t type, uint8_t bar, uint64_t offset,
                                uint16_t size, const void *data, size_t data_size)
{
    uint8_t body[sizeof(struct wire_access) + 2 * WIRE_ACCESS_MAX];
    struct wire_record rec = {.type = type, .function = handle, .tag = 7};
    struct wire_access a = {
        .bar = bar, .size = size, .offset = (uint32_t)offset, .offset_high = (uint32_t)(offset >> 32)};
    memcpy(body, &a, sizeof a);
    if (data_size)
        memcpy(body + sizeof a, data, data_size);
    memset(&out, 0xee, sizeof out);
    return executor_run(&table, from, &rec, body, sizeof a + data_size, &out);
}

static void read_from(uint8_t type, uint8_t bar, uint64_t offset, uint16_t size)
{
    request(&host_a, f->handle, type, bar, offset, size, NULL, 0);
}

static void write_to(uint8_t type, uint8_t bar, uint64_t offset, uint16_t size, uint64_t value)
{
    request(&host_a, f->handle, type, bar, offset, size, &value, size);
}

static uint32_t config(uint16_t offset, uint16_t size)
{
    uint32_t value = 0;
    read_from(REC_CFG_RD, 0, offset, size);
    assert_int_equal(out.status, CPL_SC);
    assert_int_equal(out.size, size);
    memcpy(&value, out.data, size);
    return value;
}

static void refused(enum refusal why, uint64_t times)
{
    assert_int_equal(f->counters.refused[why], times);
    assert_int_equal(table.counters.refused[why], times);
}

static void memory_is_read_in_natural_widths(void **state)
{
    static const unsigned widths[] = {1, 2, 4, 8, 8, 4, 1};
    (void)state;
    read_from(REC_MRD, 0, 0x101, 28);
    assert_true(out.wanted);
    assert_int_equal(out.status, CPL_SC);
    assert_int_equal(out.size, 28);
    assert_memory_equal(out.data, device.bar0 + 0x101, 28);
    assert_int_equal(device.trace_count, 7);
    uint64_t at = 0x101;
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(device.trace[i].size, widths[i]);
        assert_int_equal(device.trace[i].offset, at);
        at += widths[i];
    }
    assert_int_equal(f->counters.executed[REC_MRD], 1);
    assert_int_equal(table.counters.executed[REC_MRD], 1);
    assert_int_equal(table.counters.bytes_read, 28);
}

static void largest_read_is_one_completion(void **state)
{
    (void)state;
    read_from(REC_MRD, 0, 0x3f00, WIRE_ACCESS_MAX);
    assert_int_equal(out.size, WIRE_ACCESS_MAX);
    assert_memory_equal(out.data, device.bar0 + 0x3f00, WIRE_ACCESS_MAX);
    assert_int_equal(device.trace_count, WIRE_ACCESS_MAX / 8);
}

static void posted_write_has_no_completion(void **state)
{
    uint64_t value = 0x1122334455667788;
    (void)state;
    assert_ptr_equal(request(&host_a, f->handle, REC_MWR, 0, 0x10, 8, &value, 8), f);
    assert_false(out.wanted);
    assert_memory_equal(device.bar0 + 0x10, &value, 8);
    assert_int_equal(device.trace_count, 1);
    assert_int_equal(device.trace[0].size, 8);
    assert_int_equal(f->credits_used, 1);
    assert_int_equal(table.counters.bytes_written, 8);
}

static void io_goes_to_the_io_bar(void **state)
{
    (void)state;
    read_from(REC_IO_RD, 2, 30, 2);
    assert_int_equal(out.status, CPL_SC);
    assert_memory_equal(out.data, device.bar2 + 30, 2);
    write_to(REC_IO_WR, 2, 4, 4, 0xcafef00d);
    assert_true(out.wanted);
    assert_int_equal(out.status, CPL_SC);
    assert_int_equal(out.size, 0);
    assert_int_equal(device.trace[1].value, 0xcafef00d);
    // unaligned: split, in address order, never wider than 4
    device.trace_count = 0;
    read_from(REC_IO_RD, 2, 1, 4);
    assert_int_equal(device.trace_count, 3);
    assert_int_equal(device.trace[0].size, 1);
    assert_int_equal(device.trace[1].size, 2);
    assert_int_equal(device.trace[2].size, 1);
    assert_memory_equal(out.data, device.bar2 + 1, 4);
}

static void bounds_hold_without_overflow(void **state)
{
    static const struct {
        uint8_t type, bar;
        uint64_t offset;
        uint16_t size;
        enum refusal why;
    } cases[] = {
        {REC_MRD, 0, 0x4000, 1, REFUSED_RANGE},
        {REC_MRD, 0, 0x3fff, 2, REFUSED_RANGE},
        {REC_MRD, 0, 0x3f01, 256, REFUSED_RANGE},
        {REC_MRD, 0, UINT64_MAX, 1, REFUSED_RANGE},
        {REC_MRD, 0, UINT64_MAX - 3, 8, REFUSED_RANGE},
        {REC_MRD, 0, 1ull << 32, 4, REFUSED_RANGE},
        {REC_MRD, 3, 0x1000, 4, REFUSED_RANGE},
        {REC_MRD, 4, MOCK_BAR4_SIZE, 4, REFUSED_RANGE},
        {REC_MRD, 4, MOCK_BAR4_SIZE - 1, 2, REFUSED_RANGE},
        {REC_MRD, 1, 0, 4, REFUSED_BAR}, // upper half of BAR 0
        {REC_MRD, 5, 0, 4, REFUSED_BAR},
        {REC_MRD, 6, 0, 4, REFUSED_BAR},
        {REC_MRD, 255, 0, 4, REFUSED_BAR},
        {REC_MRD, 2, 0, 4, REFUSED_BAR},   // I/O
        {REC_IO_RD, 0, 0, 4, REFUSED_BAR}, // memory
        {REC_IO_RD, 1, 0, 4, REFUSED_BAR},
        {REC_IO_RD, 2, 32, 1, REFUSED_RANGE},
        {REC_IO_RD, 2, 29, 4, REFUSED_RANGE},
        {REC_IO_RD, 2, 1ull << 32, 1, REFUSED_RANGE},
        {REC_CFG_RD, 0, 4096, 1, REFUSED_RANGE},
        {REC_CFG_RD, 0, 4095, 2, REFUSED_RANGE},
        {REC_CFG_RD, 0, 0x100000000ull, 4, REFUSED_RANGE},
        {REC_CFG_RD, 1, 0, 4, REFUSED_BAR},
        {REC_MRD, 0, 0, 0, REFUSED_SIZE},
        {REC_MRD, 0, 0, 257, REFUSED_SIZE},
        {REC_MRD, 0, 0, 0xffff, REFUSED_SIZE},
        {REC_IO_RD, 2, 0, 0, REFUSED_SIZE},
        {REC_IO_RD, 2, 0, 3, REFUSED_SIZE},
        {REC_IO_RD, 2, 0, 8, REFUSED_SIZE},
        {REC_CFG_RD, 0, 0, 0, REFUSED_SIZE},
        {REC_CFG_RD, 0, 0, 3, REFUSED_SIZE},
        {REC_CFG_RD, 0, 0, 8, REFUSED_SIZE},
    };
    (void)state;
    uint64_t expected[REFUSAL_COUNT] = {0};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        read_from(cases[i].type, cases[i].bar, cases[i].offset, cases[i].size);
        assert_true(out.wanted);
        assert_int_equal(out.status, CPL_UR);
        assert_int_equal(out.size, 0);
        refused(cases[i].why, ++expected[cases[i].why]);
    }
    assert_int_equal(device.trace_count, 0);
    for (unsigned i = 0; i <= REC_MWR; i++)
        assert_int_equal(f->counters.executed[i], 0);
}

static void refused_write_is_dropped_and_its_credit_counts(void **state)
{
    (void)state;
    write_to(REC_MWR, 0, 0x4000, 4, 1);
    assert_false(out.wanted);
    refused(REFUSED_RANGE, 1);
    assert_int_equal(device.trace_count, 0);
    assert_int_equal(f->credits_used, 1);
}

static void record_must_carry_what_it_says(void **state)
{
    uint8_t data[16] = {0};
    struct wire_record rec = {.type = REC_MRD, .function = f->handle};
    (void)state;
    request(&host_a, f->handle, REC_MRD, 0, 0, 4, data, 4); // a read with data
    assert_int_equal(out.status, CPL_UR);
    request(&host_a, f->handle, REC_IO_WR, 2, 0, 4, data, 3);
    assert_int_equal(out.status, CPL_UR);
    request(&host_a, f->handle, REC_IO_WR, 2, 0, 4, data, 5);
    assert_int_equal(out.status, CPL_UR);
    request(&host_a, f->handle, REC_CFG_WR, 0, 0x0c, 1, data, 0);
    assert_int_equal(out.status, CPL_UR);
    request(&host_a, f->handle, REC_MWR, 0, 0, 8, data, 7);
    assert_false(out.wanted);
    for (size_t size = 0; size < sizeof(struct wire_access); size++) {
        uint8_t *body = malloc(size ? size : 1); // exact, so that ASan sees any read behind it
        memset(body, 0, size);
        executor_run(&table, &host_a, &rec, body, size, &out);
        assert_int_equal(out.status, CPL_UR);
        free(body);
    }
    refused(REFUSED_LENGTH, 5 + sizeof(struct wire_access));
    assert_int_equal(device.trace_count, 0);
}

static void foreign_and_dead_handles_are_refused(void **state)
{
    uint16_t handle = f->handle;
    (void)state;
    for (uint32_t h = 0; h <= 0xffff; h++) {
        if (h == handle)
            continue;
        assert_null(request(&host_a, (uint16_t)h, REC_MRD, 0, 0, 4, NULL, 0));
        assert_int_equal(out.status, CPL_UR);
    }
    assert_int_equal(table.counters.refused[REFUSED_HANDLE], 0xffff);
    assert_int_equal(other.trace_count, 0);
    assert_null(request(NULL, 0, REC_MRD, 0, 0, 4, NULL, 0));
    functions_release(&table, f);
    assert_null(request(&host_a, handle, REC_MRD, 0, 0, 4, NULL, 0));
    assert_int_equal(out.status, CPL_UR);
    assert_int_equal(device.trace_count, 0);
}

static void freed_handle_is_the_last_to_come_back(void **state)
{
    bool seen[WIRE_HANDLE_MAX + 1] = {false};
    (void)state;
    seen[other.f->handle] = true;
    for (unsigned i = 0; i < WIRE_HANDLE_MAX - 1; i++) {
        assert_false(seen[f->handle]);
        seen[f->handle] = true;
        functions_release(&table, f);
        assert_int_equal(functions_claim(&table, f, &host_a), OK);
    }
    assert_true(seen[f->handle]); // all were used once
    assert_true(f->handle != other.f->handle);
}

static void claimed_function_is_not_claimed_twice(void **state)
{
    (void)state;
    assert_int_equal(functions_claim(&table, f, &host_b), ERR_BUSY);
    assert_int_equal(functions_claim(&table, f, &host_a), ERR_BUSY);
    assert_true(f->info.flags & WIRE_FN_BUSY);
    functions_release(&table, f);
    assert_false(f->info.flags & WIRE_FN_BUSY);
}

static void unknown_requests_are_refused(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        if (type >= REC_CFG_RD && type <= REC_MWR)
            continue;
        assert_null(request(&host_a, f->handle, (uint8_t)type, 0, 0, 4, NULL, 0));
        bool posted = (type >= 0x10 && type < 0x20) || type >= 0x30;
        assert_int_equal(out.wanted, !posted);
        assert_int_equal(out.status, CPL_UR);
    }
    assert_int_equal(table.counters.refused[REFUSED_TYPE], 250);
}

static void addresses_of_this_machine_are_not_seen(void **state)
{
    (void)state;
    for (uint16_t bar = 0x10; bar < 0x28; bar += 4)
        assert_int_equal(config(bar, 4), 0);
    assert_int_equal(config(0x30, 4), 0);
    assert_int_equal(config(0x3c, 1), 0);
    assert_int_equal(config(0x3d, 1), 1); // the pin is the function's
    for (uint16_t at = MOCK_MSI + 4; at < MOCK_MSI + 24; at += 4)
        assert_int_equal(config(at, 4), 0);
    assert_int_equal(config(MOCK_SRIOV + 0x24, 4), 0);
    // identity is
    assert_int_equal(config(0x00, 4), 0x00101b36);
    assert_int_equal(config(0x2c, 4), 0x11001af4);
    assert_int_equal(config(MOCK_MSI + 2, 2), 0x0188); // shape without MSI Enable
    assert_int_equal(config(MOCK_MSIX + 2, 2), 0x0003);
    assert_int_equal(config(MOCK_MSIX + 4, 4), MOCK_MSIX_TABLE);
    assert_int_equal(config(MOCK_PM + 4, 2), 0x0108 & 0x1f0c);
}

/// No write of any width anywhere changes a protected bit of the real function.
static void protected_bits_stay(void **state)
{
    static const struct {
        uint16_t offset, size;
        uint32_t mask; // bits that must not change
    } kept[] = {
        {0x00, 4, 0xffffffff},
        {0x04, 2, 0xffbf},
        {0x08, 4, 0xffffffff},
        {0x0f, 1, 0xff},
        {0x10, 4, 0xffffffff},
        {0x14, 4, 0xffffffff},
        {0x18, 4, 0xffffffff},
        {0x1c, 4, 0xffffffff},
        {0x20, 4, 0xffffffff},
        {0x24, 4, 0xffffffff},
        {0x30, 4, 0xffffffff},
        {0x3c, 4, 0xffffffff},
        {MOCK_PM, 4, 0xffffffff},
        {MOCK_PM + 4, 4, 0xffffffff},
        {MOCK_MSI, 4, 0xffffffff},
        {MOCK_MSI + 4, 4, 0xffffffff},
        {MOCK_MSI + 8, 4, 0xffffffff},
        {MOCK_MSI + 12, 4, 0xffffffff},
        {MOCK_MSI + 16, 4, 0xffffffff},
        {MOCK_PCIE, 4, 0xffffffff},
        {MOCK_PCIE + 8, 2, 0x87ef},
        {MOCK_PCIE + 0x10, 4, 0xffffffff},
        {MOCK_MSIX, 4, 0xffffffff},
        {MOCK_MSIX + 4, 4, 0xffffffff},
        {MOCK_VENDOR, 2, 0xffff},
        {MOCK_AER, 4, 0xffffffff},
        {MOCK_AER + 4, 4, 0xffffffff},
        {MOCK_SRIOV + 8, 4, 0xffffffff},
        {MOCK_SRIOV + 0x24, 4, 0xffffffff},
        {MOCK_VSEC, 4, 0xffffffff},
    };
    static const uint32_t patterns[] = {0xffffffff, 0, 0x55555555, 0xaaaaaaaa};
    struct mock_device before = device;
    (void)state;
    for (unsigned p = 0; p < 4; p++)
        for (uint16_t size = 1; size <= 4; size *= 2)
            for (uint32_t at = 0; at + size <= 4096; at++)
                write_to(REC_CFG_WR, 0, at, size, patterns[p]);
    for (unsigned i = 0; i < sizeof kept / sizeof kept[0]; i++)
        assert_int_equal(mock_get(&device, kept[i].offset, kept[i].size) & kept[i].mask,
                         mock_get(&before, kept[i].offset, kept[i].size) & kept[i].mask);
    assert_int_equal(device.resets, 0);
    assert_true(f->counters.refused[REFUSED_PROTECTED] > 1000);
}

static void free_bits_are_written(void **state)
{
    (void)state;
    write_to(REC_CFG_WR, 0, 0x0c, 1, 0x20);
    assert_int_equal(mock_get(&device, 0x0c, 1), 0x20);
    write_to(REC_CFG_WR, 0, MOCK_VENDOR + 4, 4, 0x12345678);
    assert_int_equal(config(MOCK_VENDOR + 4, 4), 0x12345678);
    write_to(REC_CFG_WR, 0, MOCK_VSEC + 8, 4, 0x87654321);
    assert_int_equal(config(MOCK_VSEC + 8, 4), 0x87654321);
    write_to(REC_CFG_WR, 0, MOCK_PCIE + 8, 2, 0x5000);
    assert_int_equal(mock_get(&device, MOCK_PCIE + 8, 2), 0x5000);
    assert_int_equal(out.status, CPL_SC);
    // between capabilities
    write_to(REC_CFG_WR, 0, 0xe0, 2, 0xbeef);
    assert_int_equal(config(0xe0, 2), 0xbeef);
}

/// Virtio's configuration access capability would reach the MSI-X table, and read BARs, behind the executor's
/// back.
static void virtio_window_stays_shut(void **state)
{
    (void)state;
    mock_put(&device, 0x00, 2, 0x1af4);
    mock_put(&device, MOCK_VENDOR, 4, 0x05140009);
    function_prepare(f);
    write_to(REC_CFG_WR, 0, MOCK_VENDOR + 4, 4, 0x00000000);
    write_to(REC_CFG_WR, 0, MOCK_VENDOR + 8, 4, MOCK_MSIX_TABLE);
    write_to(REC_CFG_WR, 0, MOCK_VENDOR + 16, 4, 0xfee00000);
    assert_int_equal(mock_get(&device, MOCK_VENDOR + 8, 4), 0);
    assert_int_equal(mock_get(&device, MOCK_VENDOR + 16, 4), 0);
    refused(REFUSED_PROTECTED, 3);
    mock_put(&device, MOCK_VENDOR, 4,
             0x01140009); // the other virtio capabilities only describe: their driver's, as any
    function_prepare(f);
    write_to(REC_CFG_WR, 0, MOCK_VENDOR + 8, 4, 0x1234);
    assert_int_equal(config(MOCK_VENDOR + 8, 4), 0x1234);
}

/// Write-1-to-clear bits that the host did not write as 1 are written as 0.
static void error_bits_are_cleared_only_when_asked(void **state)
{
    (void)state;
    device.trace_count = 0;
    write_to(REC_CFG_WR, 0, 0x04, 4, 0x80000040);
    assert_int_equal(device.trace_count, 1);
    assert_int_equal(device.trace[0].value >> 16 & 0xf900, 0x8000);
    assert_int_equal(device.trace[0].value & 0xffff, 0x0443); // decoding on, INTx off, parity as asked
}

static void bus_mastering_is_refused_and_said_once(void **state)
{
    unsigned lines = host_log_count();
    (void)state;
    write_to(REC_CFG_WR, 0, 0x04, 2, 0x0006);
    assert_int_equal(out.status, CPL_SC);
    assert_int_equal(mock_get(&device, 0x04, 2) & 0x0004, 0);
    assert_int_equal(host_log_count(), lines + 1);
    assert_non_null(strstr(host_log_last(), "bus mastering refused"));
    write_to(REC_CFG_WR, 0, 0x04, 1, 0x04);
    write_to(REC_CFG_WR, 0, 0x02, 4, 0x00040000);
    write_to(REC_CFG_WR, 0, 0x04, 4, 0x00000004);
    refused(REFUSED_BUS_MASTER, 4);
    assert_int_equal(mock_get(&device, 0x04, 2) & 0x0004, 0);
    assert_int_equal(host_log_count(), lines + 1);
    write_to(REC_CFG_WR, 0, 0x05, 1, 0x04); // INTx Disable: another bit
    refused(REFUSED_BUS_MASTER, 4);
}

static void msix_table_is_the_remotes(void **state)
{
    uint8_t data[WIRE_ACCESS_MAX] = {0};
    (void)state;
    read_from(REC_MRD, 0, MOCK_MSIX_TABLE, 4);
    assert_int_equal(out.status, CPL_UR);
    read_from(REC_MRD, 0, MOCK_MSIX_TABLE + MOCK_MSIX_SIZE - 1, 1);
    assert_int_equal(out.status, CPL_UR);
    request(&host_a, f->handle, REC_MWR, 0, MOCK_MSIX_TABLE - 255, 256, data, 256);
    refused(REFUSED_MSIX, 3);
    read_from(REC_MRD, 0, MOCK_MSIX_TABLE - 256, 256);
    assert_int_equal(out.status, CPL_SC);
    read_from(REC_MRD, 0, MOCK_MSIX_TABLE + MOCK_MSIX_SIZE, 8);
    assert_int_equal(out.status, CPL_SC);
    read_from(REC_MRD, 4, MOCK_MSIX_TABLE, 8); // the same offset in another BAR
    assert_int_equal(out.status, CPL_SC);
}

static void nothing_is_touched_during_a_reset(void **state)
{
    (void)state;
    f->state = FUNCTION_RESETTING;
    read_from(REC_CFG_RD, 0, 0, 4);
    assert_int_equal(out.status, CPL_CRS);
    read_from(REC_MRD, 0, 0, 4);
    assert_int_equal(out.status, CPL_UR);
    write_to(REC_MWR, 0, 0, 4, 1);
    assert_false(out.wanted);
    read_from(REC_IO_RD, 2, 0, 1);
    assert_int_equal(out.status, CPL_UR);
    refused(REFUSED_RESETTING, 4);
    assert_int_equal(device.trace_count, 0);
}

static void huge_bars_are_reached_or_aborted(void **state)
{
    uint64_t value;
    (void)state;
    read_from(REC_MRD, 4, MOCK_BAR4_SIZE - 8, 8);
    assert_int_equal(out.status, CPL_SC);
    memcpy(&value, out.data, 8);
    assert_int_equal(value, MOCK_BAR4_SIZE - 8);
    device.no_windows = true;
    read_from(REC_MRD, 4, 0, 8);
    assert_int_equal(out.status, CPL_CA);
    assert_int_equal(out.size, 0);
    write_to(REC_MWR, 4, 0, 8, 0);
    assert_false(out.wanted);
    refused(REFUSED_UNREACHED, 2);
}

static void vanished_device_reads_as_data(void **state)
{
    (void)state;
    memset(device.bar3, 0xff, sizeof device.bar3);
    read_from(REC_MRD, 3, 0, 4);
    assert_int_equal(out.status, CPL_SC);
    assert_int_equal(out.size, 4);
    assert_memory_equal(out.data, "\xff\xff\xff\xff", 4);
}

static void credit_overrun_is_counted(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FUNCTION_CREDITS; i++)
        write_to(REC_MWR, 3, 0, 4, i);
    assert_int_equal(f->credit_overruns, 0);
    write_to(REC_MWR, 3, 0, 4, 0);
    assert_int_equal(f->credit_overruns, 1);
}

static void looping_capabilities_end(void **state)
{
    (void)state;
    mock_put(&device, MOCK_VENDOR + 1, 1, MOCK_PM); // last one points to the first
    mock_put(&device, MOCK_VSEC, 4, 0x0001000bu | (uint32_t)MOCK_AER << 20);
    function_prepare(f);
    assert_int_equal(f->config.count, 8);
    mock_put(&device, MOCK_PM + 1, 1, MOCK_PM);
    function_prepare(f);
    assert_int_equal(f->config.count, 4);
    memset(device.config, 0xff, sizeof device.config); // nothing there
    function_prepare(f);
    write_to(REC_CFG_WR, 0, 0xfc, 4, 0);
}

static void capabilities_of_every_length_are_mapped(void **state)
{
    (void)state;
    // a capability list through every dword, extended list alike: more than the map keeps
    for (unsigned at = 0x40; at < 0x100; at += 4)
        mock_put(&device, at, 4, 0x00050009u | (at + 4 < 0x100 ? (at + 4) << 8 : 0));
    for (unsigned at = 0x100; at < 0x1000; at += 4)
        mock_put(&device, at, 4, 0x0001000bu | (at + 4 < 0x1000 ? (at + 4) << 20 : 0));
    function_prepare(f);
    assert_int_equal(f->config.count, CONFIG_REGIONS_MAX);
    for (unsigned i = 1; i < f->config.count; i++)
        assert_true(f->config.regions[i - 1].offset + f->config.regions[i - 1].length <=
                    f->config.regions[i].offset);
    for (uint16_t at = 0; at < 4096; at++)
        config_masks(&f->config, at, 1);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memory_is_read_in_natural_widths),
        TEST(largest_read_is_one_completion),
        TEST(posted_write_has_no_completion),
        TEST(io_goes_to_the_io_bar),
        TEST(bounds_hold_without_overflow),
        TEST(refused_write_is_dropped_and_its_credit_counts),
        TEST(record_must_carry_what_it_says),
        TEST(foreign_and_dead_handles_are_refused),
        TEST(freed_handle_is_the_last_to_come_back),
        TEST(claimed_function_is_not_claimed_twice),
        TEST(unknown_requests_are_refused),
        TEST(addresses_of_this_machine_are_not_seen),
        TEST(protected_bits_stay),
        TEST(free_bits_are_written),
        TEST(virtio_window_stays_shut),
        TEST(error_bits_are_cleared_only_when_asked),
        TEST(bus_mastering_is_refused_and_said_once),
        TEST(msix_table_is_the_remotes),
        TEST(nothing_is_touched_during_a_reset),
        TEST(huge_bars_are_reached_or_aborted),
        TEST(vanished_device_reads_as_data),
        TEST(credit_overrun_is_counted),
        TEST(looping_capabilities_end),
        TEST(capabilities_of_every_length_are_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
