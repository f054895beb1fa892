console.log('shop frontend v1');
