version = "0.1.dev0"
