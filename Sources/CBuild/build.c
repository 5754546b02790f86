#include "build.h"

#ifndef REALERTIME_COMMIT
#define REALERTIME_COMMIT "unknown"
#endif

const char *realertime_build_commit(void) {
    return REALERTIME_COMMIT;
}
