#define _GNU_SOURCE
#include "pages.h"

#if defined(__linux__)

#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/// Whether read-only segments contain relocations. Relocated bytes are private to the process, so they would be lost if their pages were released.
static int has_relocated_text(const struct dl_phdr_info *program) {
    for (int i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &program->dlpi_phdr[i];
        if (header->p_type != PT_DYNAMIC) continue;
        const ElfW(Dyn) *entry = (const ElfW(Dyn) *)(program->dlpi_addr + header->p_vaddr);
        for (; entry->d_tag != DT_NULL; entry++) {
            if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_TEXTREL)) return 1;
        }
    }
    return 0;
}

static int release_main_program(struct dl_phdr_info *program, size_t size, void *released) {
    (void)size;
    if (!has_relocated_text(program)) {
        const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        for (int i = 0; i < program->dlpi_phnum; i++) {
            const ElfW(Phdr) *header = &program->dlpi_phdr[i];
            // Relocated data is in writable segments, even if it was made read-only later.
            if (header->p_type != PT_LOAD || header->p_flags & PF_W) continue;
            const uintptr_t begin = (program->dlpi_addr + header->p_vaddr) & ~(page - 1);
            const uintptr_t end = program->dlpi_addr + header->p_vaddr + header->p_memsz;
            if (madvise((void *)begin, end - begin, MADV_DONTNEED) == 0) *(size_t *)released += end - begin;
        }
    }
    // `dl_iterate_phdr` reports the program itself first. A non-zero result ends the iteration before the libraries.
    return 1;
}

size_t realertime_release_pages(void) {
    size_t released = 0;
    dl_iterate_phdr(release_main_program, &released);
    return released;
}

#else

size_t realertime_release_pages(void) { return 0; }

#endif
