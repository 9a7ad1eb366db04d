// SPDX-License-Identifier: BSD-2-Clause
// Page tables as data: page sizes, rights, refusal of W+X and of changes, the audit.
// LINK: rt/pagetable.c
#include "rt/frames.h"
#include "rt/pagetable.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define K4 0x1000ull
#define M2 0x200000ull
#define G1 0x40000000ull
#define V  0xffff800000000000ull

static phys_t new_root(void)
{
    phys_t root = frames_alloc(1, K4, 0);
    assert_true(root != FRAME_NONE);
    return root;
}

static void test_page_sizes(void **state)
{
    (void)state;
    phys_t root = new_root();
    // 4 KiB up to the first 2 MiB boundary, 2 MiB up to the first GiB, one GiB, then down again
    uint64_t start = M2 - K4, end = 2 * G1 + M2 + K4;
    assert_int_equal(pagetable_map(root, V + start, start, end - start, PTE_W | PTE_NX, G1), OK);
    struct paging_audit a = pagetable_audit(root);
    assert_int_equal(a.leaves, 1 + 511 + 1 + 1 + 1);
    assert_int_equal(a.writable, a.leaves);
    assert_int_equal(a.executable, 0);
    assert_int_equal(a.both, 0);
    for (uint64_t p = start; p < end; p += K4) {
        uint64_t e = pagetable_lookup(root, V + p);
        uint64_t size = p >= G1 && p < 2 * G1 ? G1 : p >= M2 && p < 2 * G1 + M2 ? M2 : K4;
        assert_int_equal(e & PTE_ADDR, p & ~(size - 1));
        assert_int_equal(!!(e & PTE_PS), size != K4);
        assert_true((e & PTE_P) && (e & PTE_W) && (e & PTE_NX));
    }
    assert_int_equal(pagetable_lookup(root, V + start - 1), 0);
    assert_int_equal(pagetable_lookup(root, V + end), 0);
    assert_int_equal(pagetable_lookup(root, start), 0);
}

static void test_largest_is_kept(void **state)
{
    (void)state;
    phys_t root = new_root();
    assert_int_equal(pagetable_map(root, V, 0, G1, PTE_NX, M2), OK);
    assert_int_equal(pagetable_audit(root).leaves, 512);
    root = new_root();
    assert_int_equal(pagetable_map(root, V, 0, M2, PTE_NX, K4), OK);
    assert_int_equal(pagetable_audit(root).leaves, 512);
    // virtual and physical addresses that do not agree within 2 MiB
    root = new_root();
    assert_int_equal(pagetable_map(root, V, K4, M2, PTE_NX, G1), OK);
    assert_int_equal(pagetable_audit(root).leaves, 512);
}

static void test_rights(void **state)
{
    (void)state;
    phys_t root = new_root();
    assert_int_equal(pagetable_map(root, V, 0, K4, PTE_W, K4), ERR_INVAL); // writable and executable
    assert_int_equal(pagetable_map(root, V, 0, K4, 0, K4), OK);
    assert_int_equal(pagetable_map(root, V + K4, K4, K4, PTE_NX, K4), OK);
    assert_int_equal(pagetable_map(root, V + 2 * K4, 2 * K4, K4, PTE_W | PTE_NX, K4), OK);
    struct paging_audit a = pagetable_audit(root);
    assert_int_equal(a.leaves, 3);
    assert_int_equal(a.writable, 1);
    assert_int_equal(a.executable, 1);
    assert_int_equal(a.both, 0);
    assert_int_equal(pagetable_lookup(root, V) & (PTE_W | PTE_NX), 0);
}

static void test_audit_sees_what_is_wrong(void **state)
{
    (void)state;
    phys_t root = new_root();
    assert_int_equal(pagetable_map(root, V, 0, K4, PTE_W | PTE_NX, K4), OK);
    uint64_t *pml4 = (uint64_t *)root;
    uint64_t *leaf = (uint64_t *)(pml4[256] & PTE_ADDR);
    leaf = (uint64_t *)(leaf[0] & PTE_ADDR);
    leaf = (uint64_t *)(leaf[0] & PTE_ADDR);
    leaf[0] &= ~PTE_NX;
    assert_int_equal(pagetable_audit(root).both, 1);
    pml4[256] |= PTE_NX; // a level above takes the right away
    assert_int_equal(pagetable_audit(root).both, 0);
    pml4[256] &= ~(PTE_NX | PTE_W);
    assert_int_equal(pagetable_audit(root).both, 0);
    assert_int_equal(pagetable_audit(root).executable, 1);
}

static void test_nothing_is_changed(void **state)
{
    (void)state;
    phys_t root = new_root();
    assert_int_equal(pagetable_map(root, V, 0, M2, PTE_W | PTE_NX, M2), OK);
    assert_int_equal(pagetable_map(root, V, 0, M2, PTE_NX, M2), ERR_BUSY);
    assert_int_equal(pagetable_map(root, V + K4, 0, K4, PTE_NX, M2), ERR_BUSY); // inside a large page
    assert_true(pagetable_lookup(root, V) & PTE_W);
    assert_int_equal(pagetable_map(root, V + 1, 0, K4, PTE_NX, K4), ERR_INVAL);
    assert_int_equal(pagetable_map(root, V, 8, K4, PTE_NX, K4), ERR_INVAL);
    assert_int_equal(pagetable_map(root, V, 0, 5, PTE_NX, K4), ERR_INVAL);
}

static void test_no_memory(void **state)
{
    (void)state;
    phys_t root = new_root();
    for (int n = 0; n < 3; n++) {
        host_frames_fail_after(n);
        assert_int_equal(pagetable_map(root, V + ((uint64_t)(unsigned)n << 39), 0, K4, PTE_NX, K4),
                         ERR_NOMEM);
    }
    host_frames_fail_after(-1);
    assert_int_equal(pagetable_audit(root).leaves, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_sizes),
        cmocka_unit_test(test_largest_is_kept),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_audit_sees_what_is_wrong),
        cmocka_unit_test(test_nothing_is_changed),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
