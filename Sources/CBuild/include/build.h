#ifndef REALERTIME_BUILD_H
#define REALERTIME_BUILD_H

/// The commit that this binary was built from. Package.swift defines it.
const char *realertime_build_commit(void);

#endif
