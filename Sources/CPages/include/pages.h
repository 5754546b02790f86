#ifndef REALERTIME_PAGES_H
#define REALERTIME_PAGES_H

#include <stddef.h>

/// Releases this process's read-only pages of the program file. The kernel maps a page again from the page cache when the page is needed.
/// Returns the number of released bytes; 0 if nothing was done.
size_t realertime_release_pages(void);

#endif
