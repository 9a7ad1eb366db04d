// SPDX-License-Identifier: BSD-2-Clause
// See elf.h. Every field is read through copies, because nothing in the file is to be trusted, not even
// alignment.
#include "boot/elf.h"
#include "rt/elf_format.h"
#include <string.h>

enum { NOTE_TYPE = 1 };

struct elf {
    const char *path;
    const uint8_t *file;
    uint64_t size;
    struct elf64_ehdr ehdr;
    struct refusal *why;
};

#define refuse_elf(e, code, ...) refuse_line((e)->why, code, (e)->path, 0, __VA_ARGS__)
#define LLU(x)                   ((unsigned long long)(x))

static bool inside(uint64_t offset, uint64_t length, uint64_t size)
{
    return offset <= size && length <= size - offset;
}

/// A range of the file that the file itself promises.
static enum status promised(const struct elf *e, const char *what, uint64_t offset, uint64_t length)
{
    if (inside(offset, length, e->size))
        return OK;
    return refuse_elf(e, ERR_PROTOCOL,
                      "the file is truncated: its %s is %llu bytes at offset %llu, but the file ends at %llu",
                      what, LLU(length), LLU(offset), LLU(e->size));
}

static enum status check_header(struct elf *e, enum boot_role role)
{
    if (e->size < sizeof e->ehdr || memcmp(e->file, ELFMAG, 4) != 0)
        return refuse_elf(e, ERR_PROTOCOL, "not an ELF file (%llu bytes)", LLU(e->size));
    memcpy(&e->ehdr, e->file, sizeof e->ehdr);
    const struct elf64_ehdr *h = &e->ehdr;
    if (h->e_ident[EI_CLASS] != ELFCLASS64)
        return refuse_elf(e, ERR_UNSUPPORTED,
                          "a 32-bit ELF file (class %u); the %s needs a 64-bit one (class 2)",
                          h->e_ident[EI_CLASS], role == BOOT_ROLE_HOST ? "hypervisor" : "remote firmware");
    if (h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_ident[EI_VERSION] != EV_CURRENT ||
        h->e_version != EV_CURRENT)
        return refuse_elf(e, ERR_UNSUPPORTED, "an ELF file of another byte order or version");
    if (h->e_machine != EM_X86_64)
        return refuse_elf(e, ERR_UNSUPPORTED, "an ELF file for machine %u; this is an x86-64 PC (machine 62)",
                          h->e_machine);
    if (h->e_type != ET_EXEC)
        return refuse_elf(e, ERR_UNSUPPORTED,
                          "an ELF file of type %u; an executable with fixed addresses (type 2) is needed",
                          h->e_type);
    if (h->e_phentsize != sizeof(struct elf64_phdr) || h->e_shentsize != sizeof(struct elf64_shdr))
        return refuse_elf(e, ERR_PROTOCOL, "ELF tables with entries of %u and %u bytes instead of 56 and 64",
                          h->e_phentsize, h->e_shentsize);
    enum status s = promised(e, "program header table", h->e_phoff, (uint64_t)h->e_phnum * h->e_phentsize);
    if (s != OK)
        return s;
    return promised(e, "section header table", h->e_shoff, (uint64_t)h->e_shnum * h->e_shentsize);
}

/// Finds the note in one SHT_NOTE section. ERR_NOTFOUND: another note is there.
static enum status find_note(const struct elf *e, const struct elf64_shdr *section, struct boot_note *note)
{
    uint64_t at = 0;
    while (inside(at, sizeof(struct elf64_nhdr), section->sh_size)) {
        struct elf64_nhdr n;
        const uint8_t *bytes = e->file + section->sh_offset + at;
        memcpy(&n, bytes, sizeof n);
        uint64_t name_room = ((uint64_t)n.n_namesz + 3) & ~3ull;
        uint64_t desc_room = ((uint64_t)n.n_descsz + 3) & ~3ull;
        if (!inside(at + sizeof n, name_room + n.n_descsz, section->sh_size))
            break;
        if (n.n_type == NOTE_TYPE && n.n_namesz == sizeof "Farbus" && n.n_descsz == sizeof *note &&
            memcmp(bytes + sizeof n, "Farbus", sizeof "Farbus") == 0) {
            memcpy(note, bytes + sizeof n + name_room, sizeof *note);
            return OK;
        }
        at += sizeof n + name_room + desc_room;
    }
    return ERR_NOTFOUND;
}

static enum status check_note(const struct elf *e, enum boot_role role)
{
    struct boot_note note;
    enum status found = ERR_NOTFOUND;
    for (unsigned i = 0; i < e->ehdr.e_shnum && found != OK; i++) {
        struct elf64_shdr section;
        memcpy(&section, e->file + e->ehdr.e_shoff + i * sizeof section, sizeof section);
        if (section.sh_type != SHT_NOTE)
            continue;
        enum status s = promised(e, "note section", section.sh_offset, section.sh_size);
        if (s != OK)
            return s;
        found = find_note(e, &section, &note);
    }
    if (found != OK)
        return refuse_elf(e, ERR_UNSUPPORTED,
                          "no Farbus note in it: this is not Farbus's hv.elf or remote-fw.elf");
    if (note.version != BOOT_INFO_VERSION || note.info_size != sizeof(struct boot_info))
        return refuse_elf(e, ERR_UNSUPPORTED,
                          "made for another loader (boot contract version %u with %u bytes; this BOOTX64.EFI "
                          "has version %u "
                          "with %zu bytes); copy both files from one build",
                          note.version, note.info_size, BOOT_INFO_VERSION, sizeof(struct boot_info));
    if (note.role != (uint32_t)role)
        return refuse_elf(e, ERR_UNSUPPORTED, "its note says role %u (%s), but role = %s needs role %u",
                          note.role,
                          note.role == BOOT_ROLE_HOST     ? "host"
                          : note.role == BOOT_ROLE_REMOTE ? "remote"
                                                          : "unknown",
                          role == BOOT_ROLE_HOST ? "host" : "remote", (unsigned)role);
    return OK;
}

/// One PT_LOAD, number `index` of the table, into the plan.
static enum status add_segment(const struct elf *e, unsigned index, const struct elf64_phdr *ph,
                               struct elf_plan *plan)
{
    if (plan->count == ELF_SEGMENTS_MAX)
        return refuse_elf(e, ERR_RANGE, "more than %d segments to load", ELF_SEGMENTS_MAX);
    if ((ph->p_flags & PF_W) != 0 && (ph->p_flags & PF_X) != 0)
        return refuse_elf(e, ERR_DENIED, "segment %u is writable and executable; Farbus loads no such code",
                          index);
    if (ph->p_filesz > ph->p_memsz)
        return refuse_elf(e, ERR_PROTOCOL,
                          "segment %u has more bytes in the file (%llu) than in memory (%llu)", index,
                          LLU(ph->p_filesz), LLU(ph->p_memsz));
    if (!inside(ph->p_offset, ph->p_filesz, e->size))
        return refuse_elf(
            e, ERR_PROTOCOL,
            "the file is truncated: segment %u is %llu bytes at offset %llu, but the file ends at %llu",
            index, LLU(ph->p_filesz), LLU(ph->p_offset), LLU(e->size));
    if (ph->p_vaddr < ELF_VIRT_MIN || ph->p_vaddr > ELF_VIRT_LAST ||
        ph->p_memsz - 1 > ELF_VIRT_LAST - ph->p_vaddr)
        return refuse_elf(e, ERR_RANGE,
                          "segment %u (0x%llx, %llu bytes) is outside the upper 2 GiB it must lie in", index,
                          LLU(ph->p_vaddr), LLU(ph->p_memsz));
    uint64_t first_page = ph->p_vaddr & ~(ELF_PAGE - 1);
    if (plan->count == 0)
        plan->image_virt = first_page;
    uint64_t taken = plan->image_virt + plan->image_size; // end of the segments so far
    if (first_page < taken)
        return refuse_elf(e, ERR_PROTOCOL, "segment %u (0x%llx) overlaps the one before it, or a page of it",
                          index, LLU(ph->p_vaddr));
    uint64_t end = (ph->p_vaddr + ph->p_memsz + ELF_PAGE - 1) & ~(ELF_PAGE - 1);
    if (end - plan->image_virt > ELF_IMAGE_MAX)
        return refuse_elf(e, ERR_RANGE, "its image is larger than %llu MiB", LLU(ELF_IMAGE_MAX >> 20));
    plan->segments[plan->count++] = (struct elf_segment){
        .file_offset = ph->p_offset,
        .file_size = ph->p_filesz,
        .image_offset = ph->p_vaddr - plan->image_virt,
        .mem_size = ph->p_memsz,
        .writable = (ph->p_flags & PF_W) != 0,
        .executable = (ph->p_flags & PF_X) != 0,
    };
    plan->image_size = end - plan->image_virt;
    return OK;
}

static enum status check_entry(const struct elf *e, const struct elf_plan *plan)
{
    uint64_t offset = e->ehdr.e_entry - plan->image_virt;
    for (unsigned i = 0; i < plan->count; i++) {
        const struct elf_segment *seg = &plan->segments[i];
        if (seg->executable && offset >= seg->image_offset && offset - seg->image_offset < seg->file_size)
            return OK;
    }
    return refuse_elf(e, ERR_RANGE, "its entry point 0x%llx is not in an executable segment",
                      LLU(e->ehdr.e_entry));
}

enum status elf_plan(const char *path, const void *file, uint64_t size, enum boot_role role,
                     struct elf_plan *plan, struct refusal *why)
{
    struct elf e = {.path = path, .file = file, .size = size, .why = why};
    memset(plan, 0, sizeof *plan);
    enum status s = check_header(&e, role);
    if (s != OK)
        return s;
    s = check_note(&e, role);
    if (s != OK)
        return s;
    for (unsigned i = 0; i < e.ehdr.e_phnum; i++) {
        struct elf64_phdr ph;
        memcpy(&ph, e.file + e.ehdr.e_phoff + i * sizeof ph, sizeof ph);
        if (ph.p_type == PT_INTERP || ph.p_type == PT_DYNAMIC)
            return refuse_elf(&e, ERR_UNSUPPORTED, "it is dynamically linked; link it statically");
        if (ph.p_type != PT_LOAD || ph.p_memsz == 0)
            continue;
        s = add_segment(&e, i, &ph, plan);
        if (s != OK)
            return s;
    }
    plan->entry = e.ehdr.e_entry;
    return check_entry(&e, plan);
}
