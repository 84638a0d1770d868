module sri-sdk/guard

go 1.18
