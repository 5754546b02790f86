#ifndef REALERTIME_PAGES_H
#define REALERTIME_PAGES_H

#include <stddef.h>

/// Takes the pages of this program's file that are mapped read-only out of the process. Those that are still of use come back one by one, from the page cache.
/// Answers how many bytes are mapped so; 0 where nothing was done.
size_t realertime_release_pages(void);

#endif
